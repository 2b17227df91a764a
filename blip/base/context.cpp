#include "blip/base/context.h"

#include <omp.h>
#include <sched.h>

#include "blip/base/error.h"

namespace blip {

void Context::check_stop() const {
  if (stop != nullptr && stop->load(std::memory_order_relaxed)) {
    throw Error(ErrorCode::cancelled, "stopped on request");
  }
}

int available_cores() noexcept {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return 1;
  const int count = CPU_COUNT(&cores);
  return count > 0 ? count : 1;
}

ThreadScope::ThreadScope(const Context& context) : before_(omp_get_max_threads()) {
  omp_set_num_threads(context.num_threads > 0 ? context.num_threads : available_cores());
}

ThreadScope::~ThreadScope() {
  omp_set_num_threads(before_);
}

}  // namespace blip
