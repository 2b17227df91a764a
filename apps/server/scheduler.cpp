#include "apps/server/scheduler.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "blip/base/error.h"
#include "blip/tasks/engine.h"

namespace blip::server {

void Ticket::check() const {
  if (ended()) throw Error(ErrorCode::cancelled, "the request was ended before it was done");
}

/// Lives on the stack of the thread that waits for it.
struct Scheduler::Call {
  const Ticket& ticket;
  const std::function<void(const Context&)>* work = nullptr;  ///< or captions:
  const Captioner* captioner = nullptr;
  std::span<const CaptionRequest> requests;
  std::span<const CaptionOptions> options;
  const Watch* watch = nullptr;

  std::vector<std::size_t> ids = {};  ///< in the batch, one for each request
  bool writes = false;                ///< and counts among those who write
  std::vector<std::vector<Caption>> captions = {};
  std::exception_ptr error = nullptr;
  std::condition_variable done_signal = {};
  bool done = false;

  /// Sequences that its requests may have at once.
  std::size_t rows() const {
    std::size_t sum = 0;
    for (const CaptionOptions& o : options)
      sum += static_cast<std::size_t>(
          std::max(o.generation.num_beams, o.generation.num_return_sequences));
    return sum;
  }
};

struct Scheduler::Batch {
  explicit Batch(const Captioner& c) : captioner(&c), captions(new CaptionBatch(c)) {}

  const Captioner* captioner;
  std::unique_ptr<CaptionBatch> captions;
  std::vector<Call*> calls;
};

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options), thread_([this] { loop(); }) {}

Scheduler::~Scheduler() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    shutdown_.end(Ending::shutdown);
  }
  wake_.notify_all();
  thread_.join();
}

void Scheduler::run(const Ticket& ticket, const std::function<void(const Context&)>& work) {
  Call call{ticket, &work};
  submit(call);
}

std::vector<std::vector<Caption>> Scheduler::caption(const Captioner& captioner,
                                                     std::span<const CaptionRequest> requests,
                                                     std::span<const CaptionOptions> options,
                                                     const Ticket& ticket, const Watch& watch) {
  Call call{ticket, nullptr, &captioner, requests, options, &watch};
  if (!requests.empty()) submit(call);
  return std::move(call.captions);
}

Scheduler::Counts Scheduler::counts() const {
  const std::lock_guard lock(mutex_);
  Counts counts = counts_;
  counts.waiting = waiting_.size();
  return counts;
}

void Scheduler::submit(Call& call) {
  std::unique_lock lock(mutex_);
  if (stopping_) throw Error(ErrorCode::cancelled, "the service is stopping");
  waiting_.push_back(&call);
  wake_.notify_all();
  call.done_signal.wait(lock, [&] { return call.done; });
  if (call.error) std::rethrow_exception(call.error);
}

void Scheduler::loop() {
  std::unique_lock lock(mutex_);
  const auto something = [this] { return stopping_ || !waiting_.empty(); };
  while (!stopping_) {
    if (writing_ == 0) {
      wake_.wait(lock, something);
      wake_.wait_for(lock, options_.max_wait,
                     [this] { return stopping_ || waiting_.size() >= options_.max_batch; });
    }
    take_calls(lock);
    lock.unlock();
    step();
    lock.lock();
    counts_.writing = writing_;
  }
  const std::exception_ptr stopped =
      std::make_exception_ptr(Error(ErrorCode::cancelled, "the service is stopping"));
  const std::deque<Call*> waiting = std::exchange(waiting_, {});
  lock.unlock();
  for (Call* call : waiting) fail(*call, stopped);
  for (const std::unique_ptr<Batch>& batch : batches_) fail_all(*batch, stopped);
}

// As many calls as the batch has room for, and at least one, so that neither those who write nor
// those who wait stand still. Captions begin in the order they came; other work passes those that
// must wait for room.
void Scheduler::take_calls(std::unique_lock<std::mutex>& lock) {
  std::size_t left = writing_ < options_.max_batch ? options_.max_batch - writing_ : 1;
  bool full = false;
  for (std::size_t i = 0; i < waiting_.size() && left > 0 && !stopping_;) {
    Call& call = *waiting_[i];
    const bool writes = call.work == nullptr && !call.ticket.ended();
    if (writes && (full || !fits(call))) {
      full = true;
      ++i;
      continue;
    }
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
    lock.unlock();
    begin(call);
    lock.lock();
    --left;
  }
}

// A call whose requests do not all fit into an empty batch runs alone.
bool Scheduler::fits(const Call& call) const {
  if (writing_ == 0) return true;
  return writing_ + call.requests.size() <= options_.max_batch &&
         rows_ + call.rows() <= options_.max_rows;
}

void Scheduler::begin(Call& call) {
  const Context context{options_.num_threads, call.ticket.stop()};
  try {
    call.ticket.check();
    if (call.work != nullptr) {
      (*call.work)(context);
      return finish(call);
    }
    Batch& batch = batch_of(*call.captioner);
    batch.calls.push_back(&call);
    for (std::size_t i = 0; i < call.requests.size(); ++i)
      call.ids.push_back(batch.captions->add(call.requests[i], call.options[i], context));
    writing_ += call.requests.size();
    rows_ += call.rows();
    call.writes = true;
  } catch (...) {
    fail(call, std::current_exception());
  }
}

Scheduler::Batch& Scheduler::batch_of(const Captioner& captioner) {
  for (const std::unique_ptr<Batch>& batch : batches_) {
    if (batch->captioner == &captioner) return *batch;
  }
  return *batches_.emplace_back(std::make_unique<Batch>(captioner));
}

void Scheduler::step() {
  for (const std::unique_ptr<Batch>& batch : batches_) {
    if (batch->calls.empty()) continue;
    try {
      batch->captions->step({options_.num_threads, shutdown_.stop()});
    } catch (...) {  // the batch is of no use any more
      fail_all(*batch, std::current_exception());
      batch->captions = std::make_unique<CaptionBatch>(*batch->captioner);
      continue;
    }
    const std::lock_guard lock(mutex_);
    ++counts_.steps;
    counts_.rows += rows_;
  }
  for (const std::unique_ptr<Batch>& batch : batches_) settle(*batch);
}

// Hands over what is done, and ends the calls that nobody waits for.
void Scheduler::settle(Batch& batch) {
  const std::vector<Call*> calls = batch.calls;
  for (Call* call : calls) {
    try {
      call->ticket.check();
      const bool done = std::all_of(call->ids.begin(), call->ids.end(),
                                    [&](std::size_t id) { return batch.captions->done(id); });
      if (!done) {
        tell(*call, *batch.captions);
        continue;
      }
      for (const std::size_t id : call->ids) call->captions.push_back(batch.captions->take(id));
    } catch (...) {
      call->error = std::current_exception();
    }
    finish(*call);
  }
}

void Scheduler::tell(const Call& call, const CaptionBatch& captions) {
  if (call.watch->text && call.ids.size() == 1) call.watch->text(captions.text_so_far(call.ids[0]));
  if (!call.watch->shares) return;
  std::vector<double> shares;
  for (const std::size_t id : call.ids) shares.push_back(captions.share_written(id));
  call.watch->shares(shares);
}

void Scheduler::fail(Call& call, std::exception_ptr error) {
  call.error = std::move(error);
  finish(call);
}

void Scheduler::fail_all(Batch& batch, const std::exception_ptr& error) {
  const std::vector<Call*> calls = batch.calls;
  for (Call* call : calls) fail(*call, error);
}

// Takes the call out of its batch and wakes the one who waits; the call is gone then.
void Scheduler::finish(Call& call) {
  if (call.work == nullptr) {
    Batch& batch = batch_of(*call.captioner);
    std::erase(batch.calls, &call);
    for (const std::size_t id : call.ids) batch.captions->remove(id);
    if (call.writes) {
      writing_ -= call.requests.size();
      rows_ -= call.rows();
    }
  }
  const std::lock_guard lock(mutex_);
  call.done = true;
  call.done_signal.notify_one();
}

}  // namespace blip::server
