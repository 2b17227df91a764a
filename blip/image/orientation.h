#pragma once

#include "blip/image/codecs.h"

namespace blip {

/// The orientation, 1..8, that an EXIF block names ("Exif\0\0" in front or not); 1 where it names
/// none or is damaged.
int exif_orientation(Bytes exif);

/// The picture as it is meant to be seen, given the orientation that it was stored with.
Image turned(Image image, int orientation);

}  // namespace blip
