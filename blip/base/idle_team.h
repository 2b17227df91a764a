#pragma once

#include <atomic>
#include <thread>

namespace blip {

/// While it lives, threads of this process that wait for the others of their OpenMP region sleep
/// almost at once, where they would spin for some milliseconds: libgomp (GCC's) spins only as long
/// as it manages no more threads than there are cores, so a team that does nothing makes up the
/// number. Where regions are another library's it changes nothing.
class IdleTeam {
 public:
  /// Throws std::system_error if the system gives no thread.
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
/// does not get. Reads the thread's /proc/thread-self/schedstat, at most 20 times a second.
void yield_to_others() noexcept;

}  // namespace blip
