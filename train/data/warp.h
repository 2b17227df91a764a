#pragma once

#include <array>
#include <cstdint>

#include "blip/image/image.h"

namespace blip::train {

/// Where the pixel of a picture goes: x' = m[0] x + m[1] y + m[2], y' = m[3] x + m[4] y + m[5].
using Affine = std::array<double, 6>;

/// Turns by `degrees` against the clock, about a point.
Affine rotation(double degrees, double center_x, double center_y);
/// First `first`, then `second`.
Affine then(const Affine& first, const Affine& second);

/// What stands outside of the picture.
enum class Border {
  gray,  ///< 128 in every channel
  edge,  ///< the nearest pixel
};

/// `image` moved by `map`, bilinear, in a picture of the same size. Coordinates are rounded to 1/32
/// of a pixel and weights to 2^-15, as OpenCV's warpAffine does. `map` must be invertible.
Image warp(const Image& image, const Affine& map, Border border);

}  // namespace blip::train
