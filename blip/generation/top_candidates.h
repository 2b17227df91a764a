#pragma once

#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "blip/base/random.h"

namespace blip {

/// A token that a search may append to one of its beams.
struct Candidate {
  double rank;  ///< candidates are ordered by this: the score, or the score and noise when drawn
  float score;  ///< beam's score and the token's
  int beam;
  int token;
};

/// The best few of many tokens, found in one pass without sorting the vocabulary. Beams and tokens
/// must be offered in ascending order; among equals the first one offered wins.
class TopCandidates {
 public:
  explicit TopCandidates(std::size_t capacity) : capacity_(capacity) { best_.reserve(capacity); }

  void clear() { best_.clear(); }
  /// Offers every token t with score `base + scores[t]`.
  void offer(int beam, float base, std::span<const float> scores);
  /// The same with Gumbel noise on the rank: what stays is drawn without replacement from the
  /// softmax over all that was offered, in the order of the draws. Every token that is not -inf
  /// takes one number from `random`; -inf fills places that would stay empty.
  void offer_drawn(int beam, float base, std::span<const float> scores, Random& random);

  /// Best first, `capacity` of them unless fewer were offered.
  std::span<const Candidate> best() const { return best_; }

 private:
  double threshold() const {
    return best_.size() < capacity_ ? -std::numeric_limits<double>::infinity() : best_.back().rank;
  }
  void insert(const Candidate& candidate);

  std::size_t capacity_;
  std::vector<Candidate> best_;
};

/// The k-th largest of `scores`, counting equals; the smallest when there are fewer than k >= 1.
/// `scratch` is overwritten.
float kth_largest(std::span<const float> scores, std::size_t k, std::vector<float>& scratch);

}  // namespace blip
