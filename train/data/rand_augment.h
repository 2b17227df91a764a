#pragma once

#include <span>
#include <string_view>

#include "blip/base/random.h"
#include "blip/image/image.h"

namespace blip::train {

/// One operation of RandAugment.
enum class Operation {
  identity,
  auto_contrast,
  brightness,
  sharpness,
  equalize,
  shear_x,
  shear_y,
  translate_x,
  translate_y,
  rotate,
};

/// The ten that the authors draw from.
std::span<const Operation> operations();
/// "AutoContrast", as the authors spell it.
std::string_view name(Operation operation);

/// The argument of `operation` at `level` 0..10: a factor (Brightness and Sharpness 0.1..1.9, Shear
/// up to 0.3), pixels (Translate, up to 10) or degrees (Rotate, up to 30). Those with a direction
/// are negative when `negative` is set; the others ignore it.
double argument(Operation operation, double level, bool negative);

/// `image` under an operation with that argument. What comes from outside of the picture is gray
/// (128). Follows OpenCV's fixed-point warpAffine and numpy's conversions; where numpy's would wrap
/// around (Sharpness above 1), values are clipped instead.
/// Source: transform/randaugment.py of the authors' code.
Image apply(Operation operation, const Image& image, double argument);

/// Draws `count` operations, and applies each with probability 1/2 at `level`.
Image rand_augment(Image image, int count, double level, Random& random);

}  // namespace blip::train
