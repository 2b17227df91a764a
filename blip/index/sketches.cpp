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

/// A sum that about `wanted` of `sums` reach.
std::uint16_t threshold_for(std::span<const std::uint16_t> sums, std::size_t wanted) {
  // Of many rows a part tells.
  const std::size_t step = std::clamp<std::size_t>(wanted / 64, 1, 16);
  std::vector<std::uint32_t> counts(kMostSum + 1, 0);
  for (std::size_t i = 0; i < sums.size(); i += step) ++counts[sums[i]];
  std::size_t sum = kMostSum;
  for (std::size_t seen = counts[sum]; sum > 0 && seen * step < wanted;) seen += counts[--sum];
  return static_cast<std::uint16_t>(sum);
}

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
    std::vector<std::uint16_t> sums;
    std::vector<Neighbour> candidates;
    CodeQuery query;
  };
  const std::size_t groups = groups_of(width_);
  const std::size_t blocks = blocks_for(count_);
  std::vector<std::vector<Neighbour>> found(queries.size() / width_);
  std::vector<Worker> workers =
      workers_for(found.size(),
                  Worker{std::vector<std::uint16_t>(blocks * kLookupRows), {}, CodeQuery(width_)});
  share(workers, 0, found.size(), [&](Worker& worker, std::size_t q) {
    const float* query = queries.data() + q * width_;
    const std::vector<std::uint8_t> tables = tables_for(query, width_);
    lookup_sums(bytes_, blocks, tables.data(), groups, worker.sums.data());
    const auto sums = std::span(worker.sums).first(count_);
    const std::uint16_t least = threshold_for(sums, candidates);
    worker.candidates.clear();
    for (std::size_t row = 0; row < count_; ++row) {
      if (sums[row] >= least) worker.candidates.push_back({static_cast<std::uint32_t>(row), 0});
    }
    worker.query.set(query);
    judge_by_codes(rows.codes, worker.query, worker.candidates);
    found[q] = judge(rows, query, worker.candidates, k);
  });
  return found;
}

}  // namespace blip
