#include <spng.h>

#include <memory>

#include "blip/image/codecs.h"
#include "blip/image/orientation.h"

namespace blip {
namespace {

constexpr char kFormat[] = "PNG";
/// For texts and colour profiles, which are not looked at.
constexpr std::size_t kMaxChunkBytes = std::size_t{64} << 20;

using Context = std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)>;

void check(int status) {
  if (status == SPNG_EMEM) throw std::bad_alloc();
  if (status == SPNG_IO_EOF || status == SPNG_EOF) throw damaged(kFormat, "the data is cut short");
  if (status == SPNG_EOVERFLOW) {
    throw Error(ErrorCode::too_large, "the PNG picture is larger than memory can be");
  }
  if (status != SPNG_OK) throw damaged(kFormat, spng_strerror(status));
}

void decode_into(spng_ctx* context, std::uint8_t* out, std::size_t size, int format,
                 int flags = 0) {
  std::size_t needed = 0;
  check(spng_decoded_image_size(context, format, &needed));
  if (needed != size) throw damaged(kFormat, "its size does not fit its kind");
  check(spng_decode_image(context, out, size, format, flags));
}

/// Grey of up to 8 bits, or of 16 bits clipped (not scaled) at 255 as PIL does.
Pixels decode_grey(spng_ctx* context, const spng_ihdr& header, const spng_trns* transparent) {
  Pixels pixels(static_cast<int>(header.width), static_cast<int>(header.height), 3);
  const std::size_t count = pixels.count();
  // The samples are read into the end of the buffer, which the loop below fills from its start:
  // with at most 2 bytes a sample, what is written never overtakes what is still to be read.
  const std::size_t sample_bytes = header.bit_depth == 16 ? 2 : 1;
  std::uint8_t* samples = pixels.values.data() + count * (3 - sample_bytes);
  decode_into(context, samples, count * sample_bytes,
              sample_bytes == 2 ? SPNG_FMT_RAW : SPNG_FMT_G8);

  // PIL compares the 8-bit sample with the key's low byte, whatever the depth.
  int key = -1;
  if (transparent != nullptr) {
    key = header.bit_depth == 1 ? (transparent->gray != 0 ? 255 : 0) : transparent->gray & 0xFF;
  }
  std::uint8_t* out = pixels.values.data();
  for (std::size_t i = 0; i < count; ++i, samples += sample_bytes, out += 3) {
    std::uint8_t value = samples[0];
    if (sample_bytes == 2) value = samples[0] != 0 ? 255 : samples[1];
    if (value == key) value = 255;
    out[0] = out[1] = out[2] = value;
  }
  return pixels;
}

void whiten(Pixels& pixels, const spng_trns& key) {
  const auto red = static_cast<std::uint8_t>(key.red);
  const auto green = static_cast<std::uint8_t>(key.green);
  const auto blue = static_cast<std::uint8_t>(key.blue);
  std::uint8_t* pixel = pixels.values.data();
  for (std::size_t i = 0; i < pixels.count(); ++i, pixel += 3) {
    if (pixel[0] == red && pixel[1] == green && pixel[2] == blue)
      pixel[0] = pixel[1] = pixel[2] = 255;
  }
}

Pixels decode_color(spng_ctx* context, const spng_ihdr& header, const spng_trns* transparent,
                    bool with_alpha) {
  // 16-bit samples become their high byte, as PIL does.
  Pixels pixels(static_cast<int>(header.width), static_cast<int>(header.height),
                with_alpha ? 4 : 3);
  decode_into(context, pixels.values.data(), pixels.values.size(),
              with_alpha ? SPNG_FMT_RGBA8 : SPNG_FMT_RGB8, with_alpha ? SPNG_DECODE_TRNS : 0);
  if (header.color_type == SPNG_COLOR_TYPE_TRUECOLOR && transparent != nullptr) {
    whiten(pixels, *transparent);
  }
  return pixels;
}

int orientation_of(spng_ctx* context) {
  // The chunk may come after the pixels; damage there does no harm.
  static_cast<void>(spng_decode_chunks(context));
  spng_exif exif = {};
  if (spng_get_exif(context, &exif) != SPNG_OK) return 1;
  return exif_orientation(Bytes(reinterpret_cast<const std::uint8_t*>(exif.data), exif.length));
}

}  // namespace

Pixels decode_png(Bytes bytes, const ImageOptions& options) {
  const Context context(spng_ctx_new(0), &spng_ctx_free);
  if (!context) throw std::bad_alloc();
  check(spng_set_chunk_limits(context.get(), kMaxChunkBytes, kMaxChunkBytes));
  check(spng_set_png_buffer(context.get(), bytes.data(), bytes.size()));
  spng_ihdr header = {};
  check(spng_get_ihdr(context.get(), &header));
  check_size(header.width, header.height, kFormat, options);

  const bool lay_on_white = options.alpha == AlphaMode::white;
  spng_trns trns = {};
  const int trns_status = spng_get_trns(context.get(), &trns);
  if (trns_status != SPNG_ECHUNKAVAIL) check(trns_status);
  const spng_trns* transparent = lay_on_white && trns_status == SPNG_OK ? &trns : nullptr;

  const bool alpha_channel = header.color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA ||
                             header.color_type == SPNG_COLOR_TYPE_TRUECOLOR_ALPHA;
  const bool alpha_palette = header.color_type == SPNG_COLOR_TYPE_INDEXED && transparent != nullptr;
  Pixels pixels = header.color_type == SPNG_COLOR_TYPE_GRAYSCALE
                      ? decode_grey(context.get(), header, transparent)
                      : decode_color(context.get(), header, transparent,
                                     (lay_on_white && alpha_channel) || alpha_palette);
  if (options.exif_orientation) pixels.orientation = orientation_of(context.get());
  return pixels;
}

}  // namespace blip
