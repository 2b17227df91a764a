#pragma once

#include <bit>
#include <cstdint>
#include <span>

namespace blip {

/// What turns a logit into a log-probability: log p(x) = (x - max) - log_sum, subtracted in this
/// order so that the most probable tokens keep their digits.
struct LogNormalizer {
  float max = 0;      ///< largest logit
  float log_sum = 0;  ///< log(sum(exp(x - max)))

  float log_prob(float logit) const { return (logit - max) - log_sum; }
};

/// Normalizer of a row of logits; -inf entries count as probability 0. `log_sum` is NaN when a
/// logit is NaN or +inf, when all are -inf, and when there are none.
LogNormalizer log_normalizer(std::span<const float> logits);

/// In place, numerically safe; -inf entries stay -inf.
void log_softmax(std::span<float> scores);

/// Below this an exponent adds nothing that a float could hold beside exp(0).
inline constexpr float kLeastExponent = -87.0f;

/// Larger of x and kLeastExponent; NaN stays NaN.
inline float clamp_exponent(float x) {
  return x < kLeastExponent ? kLeastExponent : x;
}

/// exp(x) for kLeastExponent <= x <= 0, good to 1e-7; NaN gives NaN. Plain arithmetic without a
/// branch: loops over it become vector code, and every machine gets the same bits.
inline float exp_nonpositive(float x) {
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
  constexpr float kRound = 12582912.0f;
  const float shifted = x * 1.44269504f + kRound;
  const float n = shifted - kRound;
  // ln 2 in two parts, the first short enough for n * part to be exact.
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float sum = 1.0f / 5040;  // exp's own series: |r| < 0.35 leaves an error of 5e-9 after 8 terms
  sum = sum * r + 1.0f / 720;
  sum = sum * r + 1.0f / 120;
  sum = sum * r + 1.0f / 24;
  sum = sum * r + 1.0f / 6;
  sum = sum * r + 0.5f;
  sum = sum * r + 1.0f;
  sum = sum * r + 1.0f;
  const std::uint32_t exponent = std::bit_cast<std::uint32_t>(shifted) << 23;
  return sum * std::bit_cast<float>(exponent + 0x3F800000u);
}

}  // namespace blip
