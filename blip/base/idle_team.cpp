#include "blip/base/idle_team.h"

#include <fcntl.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace blip {
namespace {

using Clock = std::chrono::steady_clock;

#ifdef __clang__
constexpr bool kLibgomp = false;  // LLVM's threads yield while they wait
#else
constexpr bool kLibgomp = true;
#endif

/// How long the calling thread has been ready to run, but waited for a core; nothing where the
/// system does not tell.
std::optional<std::chrono::nanoseconds> time_in_queue() noexcept {
  const int file = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  char text[128];
  const ssize_t size = read(file, text, sizeof text - 1);
  close(file);
  if (size <= 0) return std::nullopt;
  text[size] = 0;
  long long run = 0, queued = 0;
  if (std::sscanf(text, "%lld %lld", &run, &queued) != 2) return std::nullopt;
  return std::chrono::nanoseconds(queued);
}

/// What all threads share. Never destroyed: some may compute while the process ends.
struct Sharing {
  std::mutex mutex;
  std::unique_ptr<IdleTeam> team;
  Clock::time_point queued_last;
  pid_t process = getpid();  ///< that has the team
};

/// Of a team that makes up the number.
int threads_needed() {
  return std::max(2, omp_get_num_procs() - omp_get_max_threads() + 2);
}

}  // namespace

IdleTeam::IdleTeam() {
  const int threads = threads_needed();
  thread_ = std::thread([this, threads] {
#pragma omp parallel num_threads(threads)
    begun_ = true;
    begun_.notify_all();
    over_.wait(false);
  });
  begun_.wait(false);
}

IdleTeam::~IdleTeam() {
  over_ = true;
  over_.notify_all();
  thread_.join();
}

void yield_to_others() noexcept {
  constexpr auto kEach = std::chrono::milliseconds(50);
  constexpr auto kQuiet = std::chrono::seconds(1);
  constexpr int kMostThreads = 16;
  thread_local Clock::time_point last;
  thread_local std::optional<std::chrono::nanoseconds> queued_before;
  const Clock::time_point now = Clock::now();
  const Clock::duration passed = now - last;
  if (!kLibgomp || passed < kEach || omp_get_max_threads() < 2) return;
  last = now;
  const std::optional<std::chrono::nanoseconds> queued = time_in_queue();
  const auto before = std::exchange(queued_before, queued);
  if (!queued || !before) return;
  try {
    static auto* const sharing = new Sharing;
    const std::unique_lock lock(sharing->mutex, std::try_to_lock);
    if (!lock) return;
    if (sharing->process != getpid()) {
      sharing->process = getpid();
      [[maybe_unused]] const IdleTeam* parents = sharing->team.release();  // its thread is not here
    }
    // A program that is as busy leaves half of a core; our own threads that read pictures take
    // less.
    if (4 * (*queued - *before) > passed) {
      sharing->queued_last = now;
      if (!sharing->team && threads_needed() <= kMostThreads)
        sharing->team = std::make_unique<IdleTeam>();
    } else if (now - sharing->queued_last > kQuiet) {
      sharing->team.reset();
    }
  } catch (...) {
    // Without memory or a thread more it stays as it is.
  }
}

PassingTeam::PassingTeam(const Context& context)
    : threads_({.num_threads = std::min(context.num_threads, available_cores())}) {}

PassingTeam::~PassingTeam() {
  if (kLibgomp) omp_pause_resource(omp_pause_soft, omp_get_initial_device());
}

}  // namespace blip
