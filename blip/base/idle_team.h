#pragma once

#include <atomic>
#include <thread>

#include "blip/base/context.h"

namespace blip {

/// While it lives, threads of this process that wait for the others of their OpenMP region sleep
/// almost at once, where they would spin for some milliseconds: libgomp (GCC's) spins only as long
/// as it manages no more threads than there are cores, so a team that does nothing makes up the
/// number, as long as regions have all threads of the calling thread's ThreadScope. Where regions
/// are another library's it changes nothing.
class IdleTeam {
 public:
  /// Throws std::system_error if the system gives no thread; libgomp ends the process if it gets
  /// none.
  IdleTeam();
  ~IdleTeam();
  IdleTeam(const IdleTeam&) = delete;
  IdleTeam& operator=(const IdleTeam&) = delete;

 private:
  std::atomic<bool> begun_{false}, over_{false};
  std::thread thread_;
};

/// To be called now and then by a thread that computes: has an IdleTeam while that thread must
/// queue for its core, beside other busy programs, where every spin is time that the awaited thread
/// does not get. None where it would need many threads: then most cores are not ours to spin on.
/// Reads the thread's /proc/thread-self/schedstat, at most 20 times a second.
void yield_to_others() noexcept;

/// A ThreadScope for regions that the calling thread has once, as loading a model does, of no more
/// threads than the process may use cores. They end with it, where others wait for the next region:
/// the caller may have none, or fork, and a child has none of them.
class PassingTeam {
 public:
  explicit PassingTeam(const Context& context);
  ~PassingTeam();
  PassingTeam(const PassingTeam&) = delete;
  PassingTeam& operator=(const PassingTeam&) = delete;

 private:
  ThreadScope threads_;
};

}  // namespace blip
