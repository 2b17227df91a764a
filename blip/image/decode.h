#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "blip/base/export.h"
#include "blip/image/image.h"

namespace blip {

/// What becomes of transparency (alpha channel, transparent palette entries, colour key).
enum class AlphaMode {
  white,  ///< laid on white, as transformers 5 does
  drop,   ///< the alpha values are dropped, as PIL's convert("RGB") and the authors' code do
};

/// How picture files are turned into RGB.
struct ImageOptions {
  AlphaMode alpha = AlphaMode::white;
  /// Turn JPEG, PNG and WebP pictures as their EXIF orientation says. Off: the reference ignores
  /// it. TIFF's orientation is always applied, as PIL does.
  bool exif_orientation = false;
  /// Pictures whose header says more than this are refused before they are decoded, which then
  /// takes at most about 12 bytes a pixel. The default is where PIL refuses.
  std::int64_t max_pixels = 178'956'970;
};

/// Decodes a picture file held in memory: JPEG, PNG, WebP, TIFF, GIF (first frame), BMP, PNM; the
/// format is told by content, never by name. Values are those of PIL's convert("RGB").
/// Throws Error{bad_image} (damaged, cut short, empty), Error{too_large}, Error{unsupported}
/// (a format or variant that is recognised but not handled). A side of more than 1,048,576 pixels
/// is too large, whatever `max_pixels` says. Safe on hostile input and from many threads at once.
BLIP_API Image decode_image(std::span<const std::byte> bytes, const ImageOptions& options = {});

/// Reads and decodes a file of at most 1 GiB. Throws also Error{not_found} and Error{io}; messages
/// name the file.
BLIP_API Image load_image(const std::filesystem::path& file, const ImageOptions& options = {});

}  // namespace blip
