#include "blip/image/encode.h"

#include <spng.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <ostream>

#include "blip/base/error.h"
#include "blip/base/file.h"

namespace blip {
namespace {

void check(int status) {
  if (status == SPNG_EMEM) throw std::bad_alloc();
  if (status != SPNG_OK) {
    throw Error(ErrorCode::internal,
                std::string("libspng cannot write the picture: ") + spng_strerror(status));
  }
}

}  // namespace

std::string encode_png(const Image& image) {
  const auto pixels =
      static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height);
  if (image.width <= 0 || image.height <= 0 || image.rgb.size() != 3 * pixels) {
    throw Error(ErrorCode::usage, "a picture of " + std::to_string(image.width) + " x " +
                                      std::to_string(image.height) +
                                      " pixels must have 3 values for each, but has " +
                                      std::to_string(image.rgb.size()));
  }
  const std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)> context(spng_ctx_new(SPNG_CTX_ENCODER),
                                                                    &spng_ctx_free);
  if (!context) throw std::bad_alloc();
  check(spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1));
  spng_ihdr header = {};
  header.width = static_cast<std::uint32_t>(image.width);
  header.height = static_cast<std::uint32_t>(image.height);
  header.bit_depth = 8;
  header.color_type = SPNG_COLOR_TYPE_TRUECOLOR;
  check(spng_set_ihdr(context.get(), &header));
  check(spng_encode_image(context.get(), image.rgb.data(), image.rgb.size(), SPNG_FMT_PNG,
                          SPNG_ENCODE_FINALIZE));
  std::size_t size = 0;
  int status = SPNG_OK;
  const std::unique_ptr<void, decltype(&std::free)> bytes(
      spng_get_png_buffer(context.get(), &size, &status), &std::free);
  check(status);
  return {static_cast<const char*>(bytes.get()), size};
}

void save_png(const Image& image, const std::filesystem::path& file) {
  const std::string bytes = encode_png(image);
  write_file(file, [&](std::ostream& out) {
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  });
}

}  // namespace blip
