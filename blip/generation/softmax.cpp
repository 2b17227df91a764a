#include "blip/generation/softmax.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

namespace blip {
namespace {

// Independent lanes let the compiler use vectors without reordering a sum behind our back.
constexpr std::size_t kLanes = 16;
constexpr std::size_t kPiece = 16 * kLanes;

float largest(std::span<const float> x) {
  std::array<float, kLanes> lane;
  lane.fill(-std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + kLanes <= x.size(); i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
  }
  for (; i < x.size(); ++i) lane[0] = x[i] > lane[0] ? x[i] : lane[0];
  return *std::max_element(lane.begin(), lane.end());
}

double sum_of_exp(std::span<const float> x, float max) {
  // In double: where one token holds nearly all, log(sum) is what the others add to it.
  std::array<double, kLanes> lane{};
  std::array<float, kPiece> exponent;
  for (; !x.empty(); x = x.subspan(std::min(kPiece, x.size()))) {
    // Places beyond the end stay at the least exponent and add nothing.
    exponent.fill(kLeastExponent);
    const std::size_t size = std::min(kPiece, x.size());
    for (std::size_t i = 0; i < size; ++i) exponent[i] = clamp_exponent(x[i] - max);
    for (std::size_t i = 0; i < kPiece; i += kLanes) {
      for (std::size_t j = 0; j < kLanes; ++j) lane[j] += exp_nonpositive(exponent[i + j]);
    }
  }
  return std::accumulate(lane.begin(), lane.end(), 0.0);
}

}  // namespace

LogNormalizer log_normalizer(std::span<const float> logits) {
  const float max = largest(logits);
  if (!std::isfinite(max)) return {max, std::numeric_limits<float>::quiet_NaN()};
  return {max, static_cast<float>(std::log(sum_of_exp(logits, max)))};
}

void log_softmax(std::span<float> scores) {
  const LogNormalizer normalizer = log_normalizer(scores);
  for (float& score : scores) score = normalizer.log_prob(score);
}

}  // namespace blip
