#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "apps/server/ticket.h"
#include "blip/tasks/captioning.h"

namespace blip::server {

struct SchedulerOptions {
  int num_threads = 0;         ///< 0: all cores
  std::size_t max_batch = 16;  ///< requests that write together
  std::size_t max_rows = 96;   ///< their beams and samples: bounds the memory of keys and values
  std::chrono::milliseconds max_wait{0};  ///< that a first request waits for others to join it
};

/// All computing of the service: one thread, which runs models on all cores. Captions that are
/// asked for while others are written join them at the next token. Calls block their thread until
/// their result is there, and throw what the work throws, Error{cancelled} when the ticket ended.
class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);
  /// Ends what is running.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// Runs `work` between two tokens of the captions. It gets the ticket's stop in its context.
  void run(const Ticket& ticket, const std::function<void(const Context&)>& work);

  /// Who is told of captions after every token, on the scheduler's thread; must return at once.
  /// What it throws ends the call.
  struct Watch {
    std::function<void(const std::string&)> text = {};  ///< of a call's only request, so far
    WritingListener shares = {};
  };
  /// As Captioner::caption(), each request with its own options.
  std::vector<std::vector<Caption>> caption(const Captioner& captioner,
                                            std::span<const CaptionRequest> requests,
                                            std::span<const CaptionOptions> options,
                                            const Ticket& ticket, const Watch& watch);
  std::vector<std::vector<Caption>> caption(const Captioner& captioner,
                                            std::span<const CaptionRequest> requests,
                                            std::span<const CaptionOptions> options,
                                            const Ticket& ticket) {
    return caption(captioner, requests, options, ticket, {});
  }

  struct Counts {
    std::size_t waiting = 0;  ///< calls that have not begun
    std::size_t writing = 0;  ///< requests in the batch
    std::uint64_t steps = 0;  ///< tokens that batches were taken further by
    std::uint64_t rows = 0;   ///< sequences in all these steps
  };
  Counts counts() const;

 private:
  struct Call;
  struct Batch;

  void submit(Call& call);
  void loop();
  void take_calls(std::unique_lock<std::mutex>& lock);
  bool fits(const Call& call) const;
  void begin(Call& call);
  void step();
  void settle(Batch& batch);
  static void tell(const Call& call, const CaptionBatch& captions);
  void finish(Call& call);
  void fail(Call& call, std::exception_ptr error);
  void fail_all(Batch& batch, const std::exception_ptr& error);
  Batch& batch_of(const Captioner& captioner);

  SchedulerOptions options_;
  Ticket shutdown_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;                 ///< of the thread
  std::deque<Call*> waiting_;                    ///< guarded by mutex_
  bool stopping_ = false;                        ///< guarded by mutex_
  Counts counts_;                                ///< guarded by mutex_
  std::vector<std::unique_ptr<Batch>> batches_;  ///< of the thread, one for each model
  std::size_t writing_ = 0;                      ///< of the thread: requests in all batches
  std::size_t rows_ = 0;                         ///< of the thread: their rows at most
  std::thread thread_;
};

}  // namespace blip::server
