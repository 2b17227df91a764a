#pragma once

#include "blip/image/image.h"

namespace blip {

/// Which axis PIL's separable filter runs over first.
enum class PassOrder {
  horizontal_first,  ///< Pillow up to 12 and torchvision: what this program uses
  pillow_13,         ///< vertical first when H > h and H - h > 2 * (W - w)
};

/// PIL's bicubic resampling (a = -0.5) of an 8-bit RGB picture, equal in every byte: weights
/// normalised in double, then 22-bit fixed point; each pass rounds and clips to 0..255. An axis
/// whose size does not change is not filtered. Large pictures use OpenMP's threads (see
/// ThreadScope). Throws Error{usage} where a size is below 1 or the picture does not hold what its
/// sizes say.
Image resize_bicubic(const Image& image, int width, int height,
                     PassOrder order = PassOrder::horizontal_first);

}  // namespace blip
