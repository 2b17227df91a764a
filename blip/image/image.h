#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace blip {

/// An 8-bit RGB picture, row-major HWC: channel c of the pixel at (x, y) is rgb[(y * width + x) * 3
/// + c].
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;  ///< width * height * 3
};

}  // namespace blip
