#include "blip/index/sketches.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "blip/base/error.h"
#include "blip/index/parallel.h"
#include "blip/ops/lookup.h"

namespace blip {
namespace {

constexpr std::size_t kBits = 4;  // of a group
constexpr std::size_t kNumbers = std::size_t{1} << kBits;
constexpr std::size_t kMostSum = 65535;
constexpr std::size_t kBatch = 4096;  // rows between two looks at the stop flag

std::size_t groups_of(std::size_t width) {
  constexpr std::size_t kValues = kBits * kLookupGroups;
  return (width + kValues - 1) / kValues * kLookupGroups;
}

std::size_t blocks_for(std::size_t rows) {
  return (rows + kLookupRows - 1) / kLookupRows;
}

/// tables [groups, 16]: for each group of 4 values of the query, what each choice of signs adds to
/// the product with it; scaled and shifted to whole numbers whose sums stay in 16 bits.
std::vector<std::uint8_t> tables_for(const float* query, std::size_t width) {
  const std::size_t groups = groups_of(width);
  const auto value = [&](std::size_t i) {
    return i < width && std::isfinite(query[i]) ? query[i] : 0.0f;
  };
  float most = 0;
  for (std::size_t g = 0; g < groups; ++g) {
    float sum = 0;
    for (std::size_t b = 0; b < kBits; ++b) sum += std::fabs(value(g * kBits + b));
    most = std::max(most, sum);
  }
  const auto largest = static_cast<float>(std::min<std::size_t>(255, kMostSum / groups));
  const float scale = most > 0 ? largest / most : 0.0f;
  std::vector<std::uint8_t> tables(groups * kNumbers);
  for (std::size_t at = 0; at < tables.size(); ++at) {
    float sum = 0;  // of the values whose sign agrees: half the product, shifted
    for (std::size_t b = 0; b < kBits; ++b) {
      const float v = value(at / kNumbers * kBits + b);
      if ((at >> b & 1) == (v >= 0 ? 1u : 0u)) sum += std::fabs(v);
    }
    tables[at] = static_cast<std::uint8_t>(std::min(std::floor(sum * scale + 0.5f), largest));
  }
  return tables;
}

/// What looks at the sketches for one query after another.
class SketchScan {
 public:
  SketchScan(const std::uint8_t* blocks, std::size_t rows, std::size_t width)
      : blocks_(blocks), rows_(rows), width_(width), groups_(groups_of(width)) {}

  /// About `wanted` rows that promise most of `query`, their similarities left open.
  std::vector<Neighbour>& towards(const float* query, std::size_t wanted) {
    tables_ = tables_for(query, width_);
    const std::uint16_t least = threshold(wanted);
    found_.clear();
    const std::size_t blocks = blocks_for(rows_);
    for (std::size_t begin = 0; begin < blocks; begin += kChunk) {
      look_at(begin, std::min(kChunk, blocks - begin));
      const std::size_t first = begin * kLookupRows;
      for (std::size_t i = 0; i < std::min(kChunk * kLookupRows, rows_ - first); ++i) {
        if (sums_[i] >= least) found_.push_back({static_cast<std::uint32_t>(first + i), 0});
      }
    }
    return found_;
  }

 private:
  static constexpr std::size_t kChunk = 64;  // blocks whose sums stay in the nearest cache

  void look_at(std::size_t block, std::size_t count) {
    lookup_sums(blocks_ + block * groups_ * kLookupBytes, count, tables_.data(), groups_, sums_);
  }

  /// A sum that about `wanted` rows reach. Of many rows a part tells.
  std::uint16_t threshold(std::size_t wanted) {
    const bool few = blocks_for(rows_) < 2048;  // a part of them would tell too little
    const std::size_t step = few ? 1 : std::clamp<std::size_t>(wanted / 64, 1, 16);
    counts_.assign(std::min<std::size_t>(255 * groups_, kMostSum) + 1, 0);
    for (std::size_t block = 0; block < blocks_for(rows_); block += step) {
      look_at(block, 1);
      for (std::size_t r = 0; r < std::min(kLookupRows, rows_ - block * kLookupRows); ++r) {
        ++counts_[sums_[r]];
      }
    }
    std::size_t sum = counts_.size() - 1;
    for (std::size_t seen = counts_[sum]; sum > 0 && seen * step < wanted;) seen += counts_[--sum];
    return static_cast<std::uint16_t>(sum);
  }

  const std::uint8_t* blocks_;
  std::size_t rows_, width_, groups_;
  std::vector<std::uint8_t> tables_;
  std::vector<std::uint32_t> counts_;
  std::vector<Neighbour> found_;
  std::uint16_t sums_[kChunk * kLookupRows] = {};
};

/// The rows of `candidates` by their codes, in no order.
void judge_by_codes(const Codes& codes, const CodeQuery& query,
                    std::vector<Neighbour>& candidates) {
  constexpr std::size_t kAhead = 16;  // rows that the memory is asked for in advance
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (i + kAhead < candidates.size()) codes.prefetch(candidates[i + kAhead].row);
    candidates[i].similarity = codes.similarity(query, candidates[i].row);
  }
}

}  // namespace

void Sketches::write(std::ostream& out, const VectorView& vectors, const Context& context) {
  std::vector<std::uint8_t> block(groups_of(vectors.width) * kLookupBytes);
  for (std::size_t begin = 0; begin < vectors.count; begin += kLookupRows) {
    if (begin % kBatch == 0) context.check_stop();
    std::fill(block.begin(), block.end(), std::uint8_t{0});
    for (std::size_t r = 0; r < std::min(kLookupRows, vectors.count - begin); ++r) {
      const float* vector = vectors[begin + r];
      const std::size_t shift = r / kLookupBytes * kBits;
      for (std::size_t i = 0; i < vectors.width; ++i) {
        const unsigned bit = vector[i] >= 0 ? 1u << (i % kBits + shift) : 0u;
        block[i / kBits * kLookupBytes + r % kLookupBytes] |= static_cast<std::uint8_t>(bit);
      }
    }
    out.write(reinterpret_cast<const char*>(block.data()),
              static_cast<std::streamsize>(block.size()));
  }
}

Sketches Sketches::parse(std::span<const std::byte> bytes, std::size_t rows, std::size_t width,
                         std::string_view where) {
  if (bytes.size() != blocks_for(rows) * groups_of(width) * kLookupBytes) {
    throw Error(ErrorCode::io, std::string(where) + " has another size than its rows need");
  }
  Sketches sketches;
  sketches.bytes_ = reinterpret_cast<const std::uint8_t*>(bytes.data());
  sketches.count_ = rows;
  sketches.width_ = width;
  return sketches;
}

Sketches Sketches::parse(std::shared_ptr<const MappedFile> file, std::size_t rows,
                         std::size_t width) {
  Sketches sketches = parse(file->bytes(), rows, width, file->path().string());
  sketches.owner_ = std::move(file);
  return sketches;
}

std::vector<std::vector<Neighbour>> Sketches::search(const CodedRows& rows,
                                                     std::span<const float> queries, std::size_t k,
                                                     std::size_t candidates) const {
  struct Worker {
    SketchScan scan;
    CodeQuery query;
  };
  std::vector<std::vector<Neighbour>> found(queries.size() / width_);
  std::vector<Worker> workers =
      workers_for(found.size(), Worker{SketchScan(bytes_, count_, width_), CodeQuery(width_)});
  share(workers, 0, found.size(), [&](Worker& worker, std::size_t q) {
    const float* query = queries.data() + q * width_;
    std::vector<Neighbour>& promising = worker.scan.towards(query, candidates);
    worker.query.set(query);
    judge_by_codes(rows.codes, worker.query, promising);
    found[q] = judge(rows, query, promising, k);
  });
  return found;
}

}  // namespace blip
