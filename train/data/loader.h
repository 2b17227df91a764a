#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "train/data/collation.h"
#include "train/data/source.h"

namespace blip::train {

/// Where in the data a run stands.
struct DataPosition {
  std::int64_t epoch = 0;
  std::int64_t batches = 0;  ///< of this process, done in this epoch
  std::int64_t taken = 0;    ///< records of this process in this epoch, bad ones among them
};

/// Reads, decodes and collates ahead of training, on threads. Batches and their order are the same
/// whatever the number of threads. A record that turns out to be bad is left out; the next ones
/// move up, and at the end of an epoch others stand in.
class Loader {
 public:
  struct Options {
    AugmentationOptions augmentation;
    std::int64_t batch_size = 1;
    std::int64_t batches_per_epoch = 1;  ///< of this process
    int threads = 1;
    std::int64_t prefetch = 4;
  };

  /// Starts at `from`. `collator` and `bad` must outlive the loader.
  Loader(std::shared_ptr<const Source> source, const Collator& collator, const Options& options,
         BadRecords& bad, const DataPosition& from = {});
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// The next batch; epochs follow one another without end. Throws what reading threw, such as
  /// Error{io} when too many records are bad.
  Batch next();

  /// Where to go on after the batch that next() gave last.
  const DataPosition& position() const { return position_; }
  /// Time in which next() had to wait.
  double seconds_waited() const { return waited_; }

 private:
  struct Slot;
  struct Ready {
    Batch batch;
    DataPosition after;
  };

  void work();
  void assemble();
  std::shared_ptr<Slot> claim();
  void decode(Slot& slot) const;
  Ready make_batch();
  std::shared_ptr<Slot> take_in_order();
  Slot take_spare();
  void fail();

  std::shared_ptr<const Source> source_;
  const Collator& collator_;
  Options options_;
  BadRecords& bad_;
  std::int64_t per_epoch_;  ///< records of this process in an epoch
  DataPosition position_;   ///< of training
  DataPosition assembled_;  ///< of the assembler, which is ahead of it
  double waited_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::exception_ptr error_;
  std::deque<std::shared_ptr<Slot>> slots_;  ///< claimed, in the order of the data
  std::deque<Ready> ready_;

  std::mutex reading_;  ///< of the source; taken before mutex_
  std::int64_t read_epoch_, read_taken_;
  /// Streams of the epochs that are not yet assembled, first the oldest.
  std::deque<std::pair<std::int64_t, std::unique_ptr<Stream>>> streams_;
  std::vector<std::thread> threads_;
};

}  // namespace blip::train
