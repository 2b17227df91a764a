#pragma once

#include <cstddef>
#include <limits>
#include <span>

namespace blip {

/// How many queries found what belongs to them among their best 1, 5 and 10, in per cent.
class Recall {
 public:
  static constexpr std::size_t kMissed = std::numeric_limits<std::size_t>::max();

  /// One query: the place, from 0, of the best candidate that belongs to it; kMissed when none is
  /// among them.
  void add(std::size_t rank);

  std::size_t queries() const { return queries_; }
  double at_1() const { return percent(within_1_); }
  double at_5() const { return percent(within_5_); }
  double at_10() const { return percent(within_10_); }
  double mean() const { return (at_1() + at_5() + at_10()) / 3; }

 private:
  double percent(std::size_t count) const;

  std::size_t queries_ = 0;
  std::size_t within_1_ = 0;
  std::size_t within_5_ = 0;
  std::size_t within_10_ = 0;
};

/// The place, from 0, of the best of the candidates `right` when all are ordered by falling score;
/// of equal scores the later comes first, as in the authors' evaluation (numpy.argsort, reversed).
/// Recall::kMissed when `right` is empty.
/// Throws Error{usage} for a candidate beyond the scores.
std::size_t best_rank(std::span<const float> scores, std::span<const std::size_t> right);

}  // namespace blip
