#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "blip/base/error.h"
#include "blip/base/random.h"
#include "blip/dataset/tar_samples.h"
#include "train/data/source.h"

namespace blip::train {
namespace {

/// A sample in the buffer. Its content may still be on disk.
struct Sample {
  std::size_t shard = 0;
  std::int64_t number = 0;  ///< within the shard
  std::optional<TarSample> content;
  std::string problem;  ///< of a shard that is damaged from here on
};

/// Everything that a stream needs to know of its source.
struct Shards {
  std::vector<std::string> files;
  DataOptions options;
  Share share;
  std::uint64_t seed = 0;
};

/// Walks through this process' shards, pass after pass. Each pass has an order of its own.
class ShardWalk {
 public:
  ShardWalk(const Shards& shards, std::uint64_t seed) : shards_(shards), seed_(seed) {}

  /// The next sample, with its content if wanted. A damaged shard gives one with a problem.
  Sample next(bool with_content) {
    for (;;) {
      if (!reader_ && at_ == order_.size()) begin_pass();
      Sample sample;
      try {
        if (!reader_) open_next();
        sample = {order_[at_ - 1], number_, std::nullopt, ""};
        if (with_content) sample.content.emplace();
        if (with_content ? reader_->next(*sample.content) : reader_->pass_over()) {
          ++number_;
          ++found_;
          return sample;
        }
        reader_.reset();
      } catch (const Error& e) {
        reader_.reset();
        return {order_[at_ - 1], number_, std::nullopt, e.what()};
      }
    }
  }

 private:
  void open_next() {
    number_ = 0;
    reader_.emplace(shards_.files[order_[at_++]]);
  }

  void begin_pass() {
    if (pass_ > 0 && found_ == 0) {
      throw Error(ErrorCode::io, "the shards of process " + std::to_string(shards_.share.rank) +
                                     " hold no samples");
    }
    std::vector<std::size_t> all(shards_.files.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    Random random(stream_seed(seed_, pass_++));
    for (std::size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[random.next() % i]);
    order_.clear();
    for (auto i = static_cast<std::size_t>(shards_.share.rank); i < all.size();
         i += static_cast<std::size_t>(shards_.share.ranks)) {
      order_.push_back(all[i]);
    }
    at_ = 0;
    found_ = 0;
  }

  const Shards& shards_;
  std::uint64_t seed_;
  std::uint64_t pass_ = 0;
  std::vector<std::size_t> order_;  ///< of this pass
  std::size_t at_ = 0;              ///< the shard in it that comes next
  std::int64_t number_ = 0, found_ = 0;
  std::optional<TarReader> reader_;
};

class ShardStream final : public Stream {
 public:
  ShardStream(std::shared_ptr<const Shards> shards, std::int64_t epoch, std::int64_t taken)
      : shards_(std::move(shards)),
        seed_(stream_seed(stream_seed(shards_->seed, static_cast<std::uint64_t>(epoch)),
                          static_cast<std::uint64_t>(shards_->share.rank))),
        // All ranks must agree on the order of the shards, which they divide.
        walk_(*shards_, stream_seed(shards_->seed, static_cast<std::uint64_t>(epoch))),
        draws_(seed_) {
    while (taken_ < taken) draw(false);
    load_buffer();
  }

  Item next() override {
    const std::uint64_t random = stream_seed(~seed_, static_cast<std::uint64_t>(taken_));
    Sample sample = draw(true);
    if (!sample.problem.empty()) return {std::nullopt, sample.problem, random};
    try {
      return {record_of(std::move(*sample.content), shards_->files[sample.shard], shards_->options,
                        random),
              "", random};
    } catch (const Error& e) {
      return {std::nullopt, e.what(), random};
    }
  }

 private:
  Sample draw(bool with_content) {
    while (static_cast<std::int64_t>(buffer_.size()) < shards_->options.shuffle_buffer) {
      buffer_.push_back(walk_.next(with_content));
    }
    ++taken_;
    std::swap(buffer_[draws_.next() % buffer_.size()], buffer_.back());
    Sample sample = std::move(buffer_.back());
    buffer_.pop_back();
    return sample;
  }

  /// Reads what stands in the buffer by place only.
  void load_buffer() {
    std::map<std::size_t, std::vector<Sample*>> by_shard;
    for (Sample& sample : buffer_) {
      if (sample.problem.empty()) by_shard[sample.shard].push_back(&sample);
    }
    for (auto& [shard, samples] : by_shard) load(shard, samples);
  }

  /// A small set of shards is walked more than once: samples of one place may be there twice.
  void load(std::size_t shard, std::vector<Sample*>& samples) const {
    std::sort(samples.begin(), samples.end(),
              [](const Sample* a, const Sample* b) { return a->number < b->number; });
    TarReader reader(shards_->files[shard]);
    std::int64_t number = 0;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      if (i > 0 && samples[i]->number == samples[i - 1]->number) {
        samples[i]->content = samples[i - 1]->content;
        continue;
      }
      while (number < samples[i]->number && reader.pass_over()) ++number;
      if (!reader.next(samples[i]->content.emplace())) {
        throw Error(ErrorCode::io, shards_->files[shard] + " has changed since the run began");
      }
      ++number;
    }
  }

  std::shared_ptr<const Shards> shards_;
  std::uint64_t seed_;
  ShardWalk walk_;
  Random draws_;
  std::int64_t taken_ = 0;
  std::vector<Sample> buffer_;
};

std::int64_t count_samples(const std::vector<std::string>& files) {
  std::int64_t count = 0;
  for (const std::string& file : files) {
    try {
      TarReader reader(file);
      while (reader.pass_over()) ++count;
    } catch (const Error&) {
      // What is damaged is told when it is met.
    }
  }
  return count;
}

class ShardSource final : public Source {
 public:
  explicit ShardSource(Shards shards) : shards_(std::make_shared<Shards>(std::move(shards))) {
    const Share& share = shards_->share;
    if (shards_->files.size() < static_cast<std::size_t>(share.ranks)) {
      throw Error(ErrorCode::usage, std::to_string(shards_->files.size()) + " shards cannot be " +
                                        "divided among " + std::to_string(share.ranks) +
                                        " processes");
    }
    size_ = shards_->options.samples_per_epoch;
    if (size_ == 0) size_ = count_samples(shards_->files);
    // A buffer must not hold more than a pass of the smallest share has.
    auto& buffer = shards_->options.shuffle_buffer;
    buffer = std::clamp<std::int64_t>(buffer, 1, std::max<std::int64_t>(1, size_ / share.ranks));
  }

  std::int64_t size() const override { return size_; }
  bool order_is_global() const override { return false; }
  std::unique_ptr<Stream> open(std::int64_t epoch, std::int64_t taken) const override {
    return std::make_unique<ShardStream>(shards_, epoch, taken);
  }

 private:
  std::shared_ptr<Shards> shards_;
  std::int64_t size_ = 0;
};

}  // namespace

std::shared_ptr<const Source> make_shard_source(std::vector<std::string> shards,
                                                const DataOptions& options, const Share& share,
                                                std::uint64_t seed) {
  return std::make_shared<ShardSource>(Shards{std::move(shards), options, share, seed});
}

}  // namespace blip::train
