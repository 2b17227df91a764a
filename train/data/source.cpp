#include "train/data/source.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "blip/base/error.h"
#include "blip/base/random.h"

namespace blip::train {
namespace {

using Order = std::vector<std::uint32_t>;

/// Keeps streams of one seed apart.
enum Purpose : std::uint64_t { kOrder = 1, kFraction = 2, kSpare = 3, kAugmentation = 4 };

std::uint64_t seed_of(std::uint64_t seed, Purpose purpose, std::int64_t epoch) {
  return stream_seed(stream_seed(seed, purpose), static_cast<std::uint64_t>(epoch));
}

void shuffle(Order& order, Random random) {
  for (std::size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[random.next() % i]);
  }
}

class RecordSource final : public Source {
 public:
  RecordSource(RecordList list, std::vector<double> repeat, const Share& share, std::uint64_t seed)
      : list_(std::move(list)), repeat_(std::move(repeat)), share_(share), seed_(seed) {
    repeat_.resize(list_.ends.size(), 1.0);
    if (list_.records.size() > UINT32_MAX) {
      throw Error(ErrorCode::too_large, "more than 4,294,967,295 records; use tar shards");
    }
    for (std::size_t i = 0; i < list_.ends.size(); ++i) {
      const auto count = static_cast<double>(list_.ends[i] - begin_of(i));
      size_ += static_cast<std::int64_t>(count * repeat_[i]);
    }
    if (size_ == 0) throw Error(ErrorCode::usage, "\"data.repeat\" leaves nothing to learn from");
  }

  std::int64_t size() const override { return size_; }
  bool order_is_global() const override { return true; }

  std::unique_ptr<Stream> open(std::int64_t epoch, std::int64_t taken) const override {
    return std::make_unique<RecordStream>(*this, order(epoch), epoch, taken);
  }

 private:
  class RecordStream final : public Stream {
   public:
    RecordStream(const RecordSource& source, Order order, std::int64_t epoch, std::int64_t taken)
        : source_(source), order_(std::move(order)), epoch_(epoch), taken_(taken) {}

    Item next() override {
      const Share& share = source_.share_;
      const std::int64_t batch = taken_ / share.batch_size;
      const std::int64_t place =
          (batch * share.ranks + share.rank) * share.batch_size + taken_ % share.batch_size;
      ++taken_;
      const auto key = static_cast<std::uint64_t>(place);
      const std::uint64_t steps = order_.size() / static_cast<std::uint64_t>(share.step_size());
      std::uint64_t index = key;
      if (key >= steps * static_cast<std::uint64_t>(share.step_size())) {
        index = stream_seed(seed_of(source_.seed_, kSpare, epoch_), key) % order_.size();
      }
      return {source_.list_.records[order_[index]], "",
              stream_seed(seed_of(source_.seed_, kAugmentation, epoch_), key)};
    }

   private:
    const RecordSource& source_;
    Order order_;
    std::int64_t epoch_, taken_;
  };

  std::size_t begin_of(std::size_t i) const { return i == 0 ? 0 : list_.ends[i - 1]; }

  Order order(std::int64_t epoch) const {
    Order all;
    all.reserve(static_cast<std::size_t>(size_));
    for (std::size_t i = 0; i < list_.ends.size(); ++i) {
      Order part(list_.ends[i] - begin_of(i));
      std::iota(part.begin(), part.end(), static_cast<std::uint32_t>(begin_of(i)));
      const auto wanted = static_cast<std::size_t>(static_cast<double>(part.size()) * repeat_[i]);
      std::size_t added = 0;
      for (; added + part.size() <= wanted; added += part.size()) {
        all.insert(all.end(), part.begin(), part.end());
      }
      if (added == wanted) continue;
      shuffle(part, Random(stream_seed(seed_of(seed_, kFraction, epoch), i)));
      all.insert(all.end(), part.begin(),
                 part.begin() + static_cast<std::ptrdiff_t>(wanted - added));
    }
    shuffle(all, Random(seed_of(seed_, kOrder, epoch)));
    return all;
  }

  RecordList list_;
  std::vector<double> repeat_;
  Share share_;
  std::uint64_t seed_;
  std::int64_t size_ = 0;
};

}  // namespace

std::shared_ptr<const Source> make_record_source(RecordList list, const DataOptions& options,
                                                 const Share& share, std::uint64_t seed) {
  return std::make_shared<RecordSource>(std::move(list), options.repeat, share, seed);
}

std::shared_ptr<const Source> make_source(const DataOptions& options, DataKind kind,
                                          const Share& share, std::uint64_t seed, BadRecords& bad) {
  const auto shards = std::count_if(options.train.begin(), options.train.end(), names_shards);
  if (options.train.empty()) {
    throw Error(ErrorCode::usage, "\"data.train\" is empty: there is nothing to learn from");
  }
  if (shards == 0) {
    return make_record_source(read_records(options, kind, bad), options, share, seed);
  }
  if (shards != static_cast<std::ptrdiff_t>(options.train.size()) || !options.repeat.empty()) {
    throw Error(
        ErrorCode::usage,
        "\"data.train\" mixes tar shards with other files, or repeats shards; neither works");
  }
  if (kind != DataKind::captions) {
    throw Error(ErrorCode::usage, "tar shards hold captions; questions and statements need .json");
  }
  return make_shard_source(list_shards(options.train), options, share, seed);
}

}  // namespace blip::train
