#include "blip/index/scan.h"

#include <algorithm>
#include <cmath>

#include "blip/base/tensor.h"
#include "blip/ops/matmul.h"

namespace blip {

void Nearest::offer(const Neighbour& candidate) {
  // What is no number, from a damaged file, would break the order.
  if (limit_ == 0 || std::isnan(candidate.similarity)) return;
  if (heap_.size() == limit_) {
    if (!is_nearer(candidate, heap_.front())) return;
    std::pop_heap(heap_.begin(), heap_.end(), is_nearer);
    heap_.back() = candidate;
  } else {
    heap_.push_back(candidate);
  }
  std::push_heap(heap_.begin(), heap_.end(), is_nearer);
}

std::vector<Neighbour> Nearest::take() {
  std::sort_heap(heap_.begin(), heap_.end(), is_nearer);
  return std::move(heap_);
}

void scan(const VectorView& vectors, std::span<const std::uint32_t> ids, const RowMarks& left_out,
          const float* queries, std::span<Nearest> nearest) {
  constexpr std::size_t kQueries = 16;    // scored together
  constexpr std::size_t kVectors = 8192;  // scored before the nearest are picked
  if (nearest.empty() || vectors.count == 0) return;
  FloatBuffer scores(std::min(kQueries, nearest.size()) * std::min(kVectors, vectors.count));
  for (std::size_t begin = 0; begin < vectors.count; begin += kVectors) {
    const std::size_t count = std::min(kVectors, vectors.count - begin);
    const WeightMatrix block{Precision::f32, count, vectors.width, vectors[begin]};
    for (std::size_t q = 0; q < nearest.size(); q += kQueries) {
      const std::size_t rows = std::min(kQueries, nearest.size() - q);
      matmul_few_rows(queries + q * vectors.width, block, rows, scores.data());
      for (std::size_t r = 0; r < rows; ++r) {
        const float* row_scores = scores.data() + r * count;
        for (std::size_t i = 0; i < count; ++i) {
          if (row_scores[i] < nearest[q + r].least()) continue;
          const std::uint32_t row =
              ids.empty() ? static_cast<std::uint32_t>(begin + i) : ids[begin + i];
          if (left_out.empty() || !left_out[row]) nearest[q + r].offer({row, row_scores[i]});
        }
      }
    }
  }
}

}  // namespace blip
