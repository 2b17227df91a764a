#pragma once

#include <atomic>

#include "blip/base/export.h"

namespace blip {

/// What a computation runs with. Held by the caller, passed by reference, never stored.
struct BLIP_API Context {
  int num_threads = 0;                      ///< 0: one per core that this process may use
  const std::atomic<bool>* stop = nullptr;  ///< when it becomes true, work ends at the next check

  /// Throws Error{cancelled} once a stop was asked for.
  void check_stop() const;
};

/// Cores that this process may use, by its affinity mask and its cgroup's quota; at least 1.
BLIP_API int available_cores() noexcept;

/// Sets how many threads OpenMP regions started from the calling thread use, oneDNN's among them,
/// until the end of the scope.
class BLIP_API ThreadScope {
 public:
  explicit ThreadScope(const Context& context);
  ~ThreadScope();
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_;
};

}  // namespace blip
