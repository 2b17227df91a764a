#include "blip/model/position_interpolation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace blip {
namespace {

/// The four source indices along one axis and their weights.
struct Taps {
  std::array<int, 4> index;
  std::array<float, 4> weight;
};

Taps taps_at(int i, int from, int to) {
  constexpr float a = -0.75f;
  const float center =
      (static_cast<float>(i) + 0.5f) * (static_cast<float>(from) / static_cast<float>(to)) - 0.5f;
  const float base = std::floor(center);
  const float t = center - base;
  const auto near = [](float x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };  // |x| <= 1
  const auto far = [](float x) {
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  };  // 1 < |x| < 2
  Taps taps;
  for (int k = 0; k < 4; ++k) {
    taps.index[static_cast<std::size_t>(k)] =
        std::clamp(static_cast<int>(base) - 1 + k, 0, from - 1);
  }
  taps.weight = {far(t + 1), near(t), near(1 - t), far(2 - t)};
  return taps;
}

}  // namespace

std::vector<float> interpolate_bicubic(std::span<const float> embeddings, int width,
                                       EmbeddingGrid from, EmbeddingGrid to) {
  const auto d = static_cast<std::size_t>(width);
  std::vector<float> out(static_cast<std::size_t>(to.rows) * static_cast<std::size_t>(to.columns) *
                         d);
  float* target = out.data();
  for (int row = 0; row < to.rows; ++row) {
    const Taps y = taps_at(row, from.rows, to.rows);
    for (int column = 0; column < to.columns; ++column, target += d) {
      const Taps x = taps_at(column, from.columns, to.columns);
      for (std::size_t j = 0; j < 4; ++j) {
        for (std::size_t i = 0; i < 4; ++i) {
          const float weight = y.weight[j] * x.weight[i];
          const float* source =
              embeddings.data() +
              static_cast<std::size_t>(y.index[j] * from.columns + x.index[i]) * d;
          for (std::size_t k = 0; k < d; ++k) target[k] += weight * source[k];
        }
      }
    }
  }
  return out;
}

}  // namespace blip
