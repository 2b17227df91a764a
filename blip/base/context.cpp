#include "blip/base/context.h"

#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "blip/base/error.h"
#include "blip/base/idle_team.h"

namespace blip {

void Context::check_stop() const {
  if (stop != nullptr && stop->load(std::memory_order_relaxed)) {
    throw Error(ErrorCode::cancelled, "stopped on request");
  }
}

namespace {

/// Cores' worth of time that the cgroup grants, as containers set it; 0 when it sets no limit.
double cgroup_cores() {
  double quota = 0, period = 0;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> quota >> period && period > 0) {
    return quota / period;  // "max" is no number: no limit
  }
  std::ifstream v1_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (v1_quota >> quota && v1_period >> period && quota > 0 && period > 0) return quota / period;
  return 0;
}

int count_cores() noexcept {
  cpu_set_t cores;
  int count = 1;
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) count = std::max(1, CPU_COUNT(&cores));
  try {
    const double granted = cgroup_cores();
    if (granted > 0) count = std::min(count, std::max(1, static_cast<int>(std::ceil(granted))));
  } catch (...) {
    // Without memory for a file stream the affinity mask has to do.
  }
  return count;
}

}  // namespace

int available_cores() noexcept {
  static const int count = count_cores();
  return count;
}

ThreadScope::ThreadScope(const Context& context) : before_(omp_get_max_threads()) {
  omp_set_num_threads(context.num_threads > 0 ? context.num_threads : available_cores());
  yield_to_others();
}

ThreadScope::~ThreadScope() {
  omp_set_num_threads(before_);
}

}  // namespace blip
