#pragma once

// For tests: a picture that is no picture, but the same everywhere.

#include <cmath>
#include <cstddef>
#include <vector>

namespace blip {

/// pixel_values of one square picture: 3 x side x side.
inline std::vector<float> pattern(int side) {
  std::vector<float> pixels(3 * static_cast<std::size_t>(side) * static_cast<std::size_t>(side));
  for (std::size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = std::sin(static_cast<float>(i) * 0.37f);
  return pixels;
}

}  // namespace blip
