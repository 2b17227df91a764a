#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip/base/error.h"
#include "blip/image/decode.h"

// What the codecs of this room share; nothing outside it includes this.
namespace blip {

using Bytes = std::span<const std::uint8_t>;

/// A decoded picture, row-major HWC: RGB, or RGBA with straight (not premultiplied) alpha.
struct Pixels {
  Pixels(int w, int h, int c)
      : width(w),
        height(h),
        channels(c),
        values(std::size_t(w) * std::size_t(h) * std::size_t(c)) {}

  std::size_t count() const { return std::size_t(width) * std::size_t(height); }

  int width;
  int height;
  int channels;  ///< 3 or 4
  std::vector<std::uint8_t> values;
  int orientation = 1;  ///< 1..8 as EXIF counts them; what the picture is still to be turned by
};

/// Refuses pictures that are empty or beyond `max_pixels`. Called with the header's sizes before
/// anything is allocated from them, so that products of the two cannot overflow later.
/// Throws Error{bad_image} or Error{too_large}.
void check_size(std::uint64_t width, std::uint64_t height, std::string_view format,
                const ImageOptions& options);

/// Error{bad_image}: "damaged <format> picture: <detail>".
Error damaged(std::string_view format, const std::string& detail);

/// Error{unsupported}: "<format> pictures <detail> are not handled".
Error unhandled(std::string_view format, const std::string& detail);

/// a * b / 255, rounded.
inline std::uint8_t multiply_255(unsigned a, unsigned b) {
  const unsigned product = a * b + 128;
  return static_cast<std::uint8_t>((product + (product >> 8)) >> 8);
}

/// One channel of a pixel laid on white, with the 7 extra bits that PIL's alpha_composite carries.
inline std::uint8_t on_white(unsigned value, unsigned alpha) {
  if (alpha == 0) return 255;
  const unsigned source = alpha << 7;
  const unsigned sum = value * source + 255 * ((255u << 7) - source) + (128u << 7);
  return static_cast<std::uint8_t>(((sum + (sum >> 8)) >> 8) >> 7);
}

/// The channel of an RGB pixel whose ink is `ink` of cyan, magenta or yellow under `black`.
inline std::uint8_t from_ink(unsigned ink, unsigned black) {
  const unsigned light = 255 - black;
  return static_cast<std::uint8_t>(light - multiply_255(ink, light));
}

/// Each decoder returns RGBA only where options.alpha is `white` and an alpha channel is there;
/// transparent colours and palette entries it lays on white itself.
Pixels decode_jpeg(Bytes bytes, const ImageOptions& options);
Pixels decode_png(Bytes bytes, const ImageOptions& options);
Pixels decode_webp(Bytes bytes, const ImageOptions& options);
Pixels decode_tiff(Bytes bytes, const ImageOptions& options);
Pixels decode_gif(Bytes bytes, const ImageOptions& options);
Pixels decode_bmp(Bytes bytes, const ImageOptions& options);
Pixels decode_pnm(Bytes bytes, const ImageOptions& options);

}  // namespace blip
