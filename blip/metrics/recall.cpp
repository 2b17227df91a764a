#include "blip/metrics/recall.h"

#include <algorithm>
#include <string>

#include "blip/base/error.h"

namespace blip {

void Recall::add(std::size_t rank) {
  ++queries_;
  if (rank < 1) ++within_1_;
  if (rank < 5) ++within_5_;
  if (rank < 10) ++within_10_;
}

double Recall::percent(std::size_t count) const {
  return queries_ == 0 ? 0 : 100 * static_cast<double>(count) / static_cast<double>(queries_);
}

std::size_t best_rank(std::span<const float> scores, std::span<const std::size_t> right) {
  if (right.empty()) return Recall::kMissed;
  const auto before = [scores](std::size_t a, std::size_t b) {
    return scores[a] > scores[b] || (scores[a] == scores[b] && a > b);
  };
  for (const std::size_t candidate : right) {
    if (candidate >= scores.size()) {
      throw Error(ErrorCode::usage, "candidate " + std::to_string(candidate) + " of " +
                                        std::to_string(scores.size()) + " scores");
    }
  }
  const std::size_t best = *std::min_element(right.begin(), right.end(), before);
  std::size_t rank = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) rank += before(i, best) ? 1 : 0;
  return rank;
}

}  // namespace blip
