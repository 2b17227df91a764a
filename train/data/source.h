#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "train/data/data_options.h"
#include "train/data/record.h"

namespace blip::train {

/// A record in its place, or why there is none in it.
struct Item {
  std::optional<Record> record;
  std::string problem;       ///< where there is no record
  std::uint64_t random = 0;  ///< seed of all that is random about it
};

/// One process' records of one epoch, in order. Never ends: past the epoch come others that stand
/// in for records that turn out to be bad.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Throws Error{io} when nothing at all can be read.
  virtual Item next() = 0;
};

/// What epochs are made of. The order depends on the seed, the epoch and the share alone.
class Source {
 public:
  virtual ~Source() = default;
  /// Records of an epoch, over all processes.
  virtual std::int64_t size() const = 0;
  /// The records of `epoch` (from 0) without the first `taken`.
  virtual std::unique_ptr<Stream> open(std::int64_t epoch, std::int64_t taken) const = 0;
  /// Whether the order over all processes stays the same when their number changes.
  virtual bool order_is_global() const = 0;
};

/// Records in memory, shuffled anew every epoch. Batch m of rank r are the records
/// [(m * ranks + r) * batch_size, ...) of the epoch's order, so that all ranks together take what
/// one process would.
std::shared_ptr<const Source> make_record_source(RecordList list, const DataOptions& options,
                                                 const Share& share, std::uint64_t seed);

/// Tar shards, read from front to back: each process reads every ranks-th of an order that is drawn
/// anew for each pass, into a buffer from which samples are drawn. Opening one in the middle passes
/// over what was taken without reading it.
/// Throws Error{usage} for fewer shards than processes.
std::shared_ptr<const Source> make_shard_source(std::vector<std::string> shards,
                                                const DataOptions& options, const Share& share,
                                                std::uint64_t seed);

/// The one that `options.train` asks for. Throws Error{usage} for a mixture of both, and for shards
/// of anything but captions.
std::shared_ptr<const Source> make_source(const DataOptions& options, DataKind kind,
                                          const Share& share, std::uint64_t seed, BadRecords& bad);

}  // namespace blip::train
