#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "blip/dataset/tar_samples.h"
#include "train/data/data_options.h"

namespace blip::train {

/// One thing to learn from.
struct Record {
  std::string key;                    ///< for messages
  std::vector<std::string> pictures;  ///< files; two (left, right) for statements
  std::vector<std::string> encoded;   ///< their bytes, where they came out of a tar
  std::string text;                   ///< cleaned, with the prompt
  std::vector<std::string> answers;
  std::vector<float> weights;  ///< of the answers
  std::int64_t image_id = 0;   ///< equal for records of one picture
  bool label = false;          ///< of a statement
};

/// Counts what cannot be used, tells the first ones, and ends the run when they are too many.
class BadRecords {
 public:
  /// `tell` gets a line for each of the first 20.
  BadRecords(double max_share, std::function<void(const std::string&)> tell)
      : max_share_(max_share), tell_(std::move(tell)) {}

  void good(std::int64_t count = 1) { seen_ += count; }
  /// Throws Error{io} when bad ones are more than the allowed share of those seen, counted over at
  /// least 1,000.
  void bad(const std::string& reason);

  std::int64_t count() const { return bad_; }
  std::int64_t seen() const { return seen_; }

 private:
  double max_share_;
  std::function<void(const std::string&)> tell_;
  std::int64_t bad_ = 0, seen_ = 0;
};

/// Records of the files in `options.train`, all in memory, in order.
struct RecordList {
  std::vector<Record> records;
  std::vector<std::size_t> ends;  ///< where the records of each of `options.train` end
};

/// Reads them. Captions are cleaned as the authors do; empty ones, and questions without answers or
/// statements without labels, are bad. Throws Error{usage} when nothing is left.
RecordList read_records(const DataOptions& options, DataKind kind, BadRecords& bad);

/// Whether an element of `options.train` names tar shards: X.tar, X.tar.gz, a pattern of such, or a
/// folder that holds some.
bool names_shards(const std::string& source);
/// The shards of all elements, in order. Throws Error{usage, not_found}.
std::vector<std::string> list_shards(const std::vector<std::string>& sources);

/// A sample's picture and its text ("txt", "caption", or "caption"/"text" of "json"); of several
/// lines the one that `draw` draws.
/// Throws Error{io} where one is missing or empty.
Record record_of(TarSample sample, const std::string& shard, const DataOptions& options,
                 std::uint64_t draw);

/// The folder that the pictures of the i-th source lie in; empty: none was given.
std::string picture_folder(const DataOptions& options, std::size_t source);

}  // namespace blip::train
