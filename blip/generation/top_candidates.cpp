#include "blip/generation/top_candidates.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace blip {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr std::size_t kBlock = 64;

// Nearly every block of a vocabulary ends here, so it has to be vector code: no early exit.
bool any_above(const float* scores, float base, float threshold) {
  int above = 0;
  for (std::size_t i = 0; i < kBlock; ++i) above |= base + scores[i] > threshold ? 1 : 0;
  return above != 0;
}

}  // namespace

void TopCandidates::insert(const Candidate& candidate) {
  if (best_.size() == capacity_) best_.pop_back();
  const auto place = std::upper_bound(
      best_.begin(), best_.end(), candidate,
      [](const Candidate& left, const Candidate& right) { return left.rank > right.rank; });
  best_.insert(place, candidate);
}

void TopCandidates::offer(int beam, float base, std::span<const float> scores) {
  std::size_t i = 0;
  const auto consider = [&] {
    const float score = base + scores[i];
    if (best_.size() < capacity_ || score > threshold()) {
      insert({score, score, beam, static_cast<int>(i)});
    }
  };
  for (; i < scores.size() && best_.size() < capacity_; ++i) consider();
  while (i < scores.size()) {
    const std::size_t end = std::min(i + kBlock, scores.size());
    if (end - i == kBlock && !any_above(&scores[i], base, static_cast<float>(threshold()))) {
      i = end;
    } else {
      for (; i < end; ++i) consider();
    }
  }
}

void TopCandidates::offer_drawn(int beam, float base, std::span<const float> scores,
                                Random& random) {
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const float score = base + scores[i];
    double rank = score;
    if (score > kMinusInfinity) {
      // -log(1 - u) is exponentially distributed and never infinite, as u < 1.
      const double waiting = std::max(-std::log1p(-random.uniform()), 1e-300);
      rank -= std::log(waiting);
    }
    if (best_.size() < capacity_ || rank > threshold()) {
      insert({rank, score, beam, static_cast<int>(i)});
    }
  }
}

float kth_largest(std::span<const float> scores, std::size_t k, std::vector<float>& scratch) {
  k = std::min(k, scores.size());
  scratch.assign(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(k));
  std::make_heap(scratch.begin(), scratch.end(), std::greater<>());
  std::size_t i = k;
  while (i < scores.size()) {
    const std::size_t end = std::min(i + kBlock, scores.size());
    if (end - i == kBlock && !any_above(&scores[i], 0.0f, scratch.front())) {
      i = end;
      continue;
    }
    for (; i < end; ++i) {
      if (!(scores[i] > scratch.front())) continue;
      std::pop_heap(scratch.begin(), scratch.end(), std::greater<>());
      scratch.back() = scores[i];
      std::push_heap(scratch.begin(), scratch.end(), std::greater<>());
    }
  }
  return scratch.front();
}

}  // namespace blip
