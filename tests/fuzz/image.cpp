// Any bytes as a picture file: an error or a picture of the size that it says.
#include <cstdint>
#include <span>

#include "blip/base/error.h"
#include "blip/image/decode.h"
#include "blip/image/resize.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  blip::ImageOptions options;
  options.max_pixels = 1 << 20;
  options.exif_orientation = size % 2 != 0;
  options.alpha = size % 3 != 0 ? blip::AlphaMode::white : blip::AlphaMode::drop;
  try {
    const blip::Image image = blip::decode_image(std::as_bytes(std::span(data, size)), options);
    const auto pixels =
        static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height);
    if (image.rgb.size() != pixels * 3 || pixels == 0) __builtin_trap();
    blip::resize_bicubic(image, 16, 16);
  } catch (const blip::Error&) {
  }
  return 0;
}
