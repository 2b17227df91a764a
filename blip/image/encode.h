#pragma once

#include <filesystem>
#include <string>

#include "blip/base/export.h"
#include "blip/image/image.h"

namespace blip {

/// `image` as the bytes of a PNG file (8-bit RGB).
/// Throws Error{usage} for an image without pixels, or whose values are not as many as its size
/// says.
BLIP_API std::string encode_png(const Image& image);

/// The same to a file, whole or not at all. Throws Error{usage, io}.
BLIP_API void save_png(const Image& image, const std::filesystem::path& file);

}  // namespace blip
