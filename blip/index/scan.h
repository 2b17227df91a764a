#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "blip/index/rows.h"

namespace blip {

/// A row that was found, and the inner product of its vector with the query: the cosine of their
/// angle, as both have length 1.
struct Neighbour {
  std::uint32_t row = 0;
  float similarity = 0;
};

/// Nearest first; of equally near ones the older row.
inline bool is_nearer(const Neighbour& a, const Neighbour& b) {
  return a.similarity != b.similarity ? a.similarity > b.similarity : a.row < b.row;
}

/// The `limit` nearest of what was offered.
class Nearest {
 public:
  explicit Nearest(std::size_t limit) : limit_(limit) {}

  void offer(const Neighbour& candidate);
  /// Less than this is not among them.
  float least() const {
    return heap_.size() == limit_ && limit_ > 0 ? heap_.front().similarity
                                                : -std::numeric_limits<float>::infinity();
  }
  /// Nearest first.
  std::vector<Neighbour> take();

 private:
  std::size_t limit_;
  std::vector<Neighbour> heap_;  // the farthest at the front
};

/// One mark for each row; empty: none.
using RowMarks = std::vector<bool>;

/// Offers every one of `vectors` to the query it is scored against: queries [nearest.size(),
/// width]. Row i of `vectors` counts as row `ids[i]`, or i where `ids` is empty; marked ones are
/// left out. Parallel over vectors. Similarities do not depend on how many queries run together.
void scan(const VectorView& vectors, std::span<const std::uint32_t> ids, const RowMarks& left_out,
          const float* queries, std::span<Nearest> nearest);

}  // namespace blip
