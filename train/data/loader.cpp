#include "train/data/loader.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "blip/base/error.h"

namespace blip::train {

/// A record on its way.
struct Loader::Slot {
  std::int64_t epoch = 0;
  Item item;
  std::optional<Example> example;  ///< none: `problem` says why
  std::string problem;
  bool done = false;
};

Loader::Loader(std::shared_ptr<const Source> source, const Collator& collator,
               const Options& options, BadRecords& bad, const DataPosition& from)
    : source_(std::move(source)),
      collator_(collator),
      options_(options),
      bad_(bad),
      per_epoch_(options.batches_per_epoch * options.batch_size),
      position_(from),
      assembled_(from),
      read_epoch_(from.epoch),
      read_taken_(from.taken) {
  streams_.emplace_back(from.epoch, source_->open(from.epoch, from.taken));
  for (int i = 0; i < std::max(1, options.threads); ++i) threads_.emplace_back([this] { work(); });
  threads_.emplace_back([this] { assemble(); });
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

Batch Loader::next() {
  const auto start = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !ready_.empty() || error_; });
  waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (ready_.empty()) std::rethrow_exception(error_);
  Ready ready = std::move(ready_.front());
  ready_.pop_front();
  lock.unlock();
  changed_.notify_all();
  position_ = ready.after;
  return std::move(ready.batch);
}

/// To be called where an exception was caught: it is what next() will throw.
void Loader::fail() {
  const std::lock_guard lock(mutex_);
  if (!error_) error_ = std::current_exception();
  changed_.notify_all();
}

/// The next record of the source, at the end of the queue; null when all is to end.
std::shared_ptr<Loader::Slot> Loader::claim() {
  const std::lock_guard reading(reading_);
  Stream* stream = nullptr;
  {
    const auto most = static_cast<std::size_t>(options_.prefetch * options_.batch_size);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return slots_.size() < most || stop_ || error_; });
    if (stop_ || error_) return nullptr;
    stream = streams_.back().second.get();
  }
  if (read_taken_ >= per_epoch_) {
    read_taken_ = 0;
    auto opened = source_->open(++read_epoch_, 0);
    stream = opened.get();
    const std::lock_guard lock(mutex_);
    streams_.emplace_back(read_epoch_, std::move(opened));
  }
  auto slot = std::make_shared<Slot>();
  slot->epoch = read_epoch_;
  slot->item = stream->next();
  ++read_taken_;
  const std::lock_guard lock(mutex_);
  slots_.push_back(slot);
  return slot;
}

void Loader::decode(Slot& slot) const {
  if (!slot.item.record) {
    slot.problem = slot.item.problem;
    return;
  }
  try {
    slot.example =
        collator_.prepare(std::move(*slot.item.record), options_.augmentation, slot.item.random);
  } catch (const Error& e) {
    slot.problem = e.what();
  }
}

void Loader::work() {
  try {
    while (const auto slot = claim()) {
      decode(*slot);
      const std::lock_guard lock(mutex_);
      slot->done = true;
      changed_.notify_all();
    }
  } catch (...) {
    fail();
  }
}

/// The oldest claimed record, decoded; null when all is to end.
std::shared_ptr<Loader::Slot> Loader::take_in_order() {
  std::unique_lock lock(mutex_);
  const auto here = [&] { return !slots_.empty() && slots_.front()->done; };
  changed_.wait(lock, [&] { return here() || stop_ || error_; });
  if (!here()) return nullptr;
  if (slots_.front()->epoch != assembled_.epoch) {
    throw Error(ErrorCode::internal, "the order of the records was lost");
  }
  auto slot = slots_.front();
  slots_.pop_front();
  changed_.notify_all();
  return slot;
}

/// A record from beyond the end of the epoch that is being assembled.
Loader::Slot Loader::take_spare() {
  Stream* stream = nullptr;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [epoch, open] : streams_) {
      if (epoch == assembled_.epoch) stream = open.get();
    }
  }
  if (stream == nullptr) throw Error(ErrorCode::internal, "the epoch's records are gone");
  Slot slot;
  slot.epoch = assembled_.epoch;
  slot.item = stream->next();  // its readers have gone on to the next epoch
  decode(slot);
  return slot;
}

Loader::Ready Loader::make_batch() {
  std::vector<Example> examples;
  while (static_cast<std::int64_t>(examples.size()) < options_.batch_size) {
    std::shared_ptr<Slot> slot;
    if (assembled_.taken < per_epoch_) {
      slot = take_in_order();
      if (!slot) return {};  // all is to end
    } else {
      slot = std::make_shared<Slot>(take_spare());
    }
    ++assembled_.taken;
    if (slot->example) {
      examples.push_back(std::move(*slot->example));
      bad_.good();
    } else {
      bad_.bad(slot->problem);
    }
  }
  if (++assembled_.batches == options_.batches_per_epoch) {
    assembled_ = {assembled_.epoch + 1, 0, 0};
  }
  return {collator_.collate(examples), assembled_};
}

void Loader::assemble() {
  try {
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return ready_.size() < 2 || stop_ || error_; });
        if (stop_ || error_) return;
      }
      Ready ready = make_batch();
      const std::lock_guard lock(mutex_);
      if (ready.batch.keys.empty()) return;
      while (streams_.size() > 1 && streams_.front().first < assembled_.epoch) streams_.pop_front();
      ready_.push_back(std::move(ready));
      changed_.notify_all();
    }
  } catch (...) {
    fail();
  }
}

}  // namespace blip::train
