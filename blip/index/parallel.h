#pragma once

#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "blip/base/threads.h"

namespace blip {

/// One for each thread that `work` pieces can keep busy: what it needs for itself.
template <class Worker>
std::vector<Worker> workers_for(std::size_t work, const Worker& worker) {
  const auto threads = static_cast<std::size_t>(omp_get_max_threads());
  return std::vector<Worker>(std::min(threads, work), worker);
}

/// f(worker, i) for i from `begin` to `end`, in parallel. Exceptions must not leave the region.
template <class Worker, class Function>
void share(std::vector<Worker>& workers, std::size_t begin, std::size_t end, Function f) {
  if (begin == end) return;
  RegionError error;
  const auto threads = static_cast<int>(workers.size());
#pragma omp parallel for schedule(dynamic, 8) num_threads(threads)
  for (std::size_t i = begin; i < end; ++i) {
    if (error.failed()) continue;
    error.guard([&] { f(workers[static_cast<std::size_t>(omp_get_thread_num())], i); });
  }
  error.rethrow();
}

}  // namespace blip
