#include <algorithm>
#include <array>
#include <optional>

#include "blip/image/codecs.h"

// BMP holds plain samples behind a header, so there is no codec to borrow. The variants are those
// that PIL reads, except run-length encoding, which nearly nothing writes.
namespace blip {
namespace {

constexpr char kFormat[] = "BMP";
constexpr std::size_t kFileHeader = 14;
constexpr std::uint32_t kBitFields = 3;

std::uint32_t u16(Bytes bytes, std::size_t at) {
  return bytes[at] | std::uint32_t{bytes[at + 1]} << 8;
}
std::uint32_t u32(Bytes bytes, std::size_t at) {
  return u16(bytes, at) | u16(bytes, at + 2) << 16;
}

void need(Bytes bytes, std::uint64_t size) {
  if (bytes.size() < size) throw damaged(kFormat, "the data is cut short");
}

struct Header {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint32_t bits = 0;
  bool top_down = false;
  std::uint32_t compression = 0;
  std::array<std::uint32_t, 4> masks = {};  ///< red, green, blue, alpha
  std::size_t palette_start = 0;
  std::uint32_t palette_entry = 0;  ///< bytes each
  std::uint32_t colors = 0;
  std::uint64_t data_start = 0;
};

void read_masks(Bytes bytes, std::uint32_t size, Header& header) {
  constexpr std::size_t kMasks =
      kFileHeader + 40;  // inside the longer headers, behind the short one
  need(bytes, kMasks + 16);
  const std::size_t count = size >= 56 ? 4 : 3;
  for (std::size_t i = 0; i < count; ++i) header.masks[i] = u32(bytes, kMasks + 4 * i);
}

void read_info_header(Bytes bytes, std::uint32_t size, Header& header) {
  need(bytes, kFileHeader + size);
  header.width = u32(bytes, 18);
  header.height = u32(bytes, 22);
  header.top_down = header.height >> 24 == 0xFF;
  if (header.top_down) header.height = 0 - header.height;
  header.bits = u16(bytes, 28);
  header.compression = u32(bytes, 30);
  header.colors = u32(bytes, 46);
  header.palette_entry = 4;
  if (header.compression == kBitFields) read_masks(bytes, size, header);
}

Header read_header(Bytes bytes) {
  need(bytes, kFileHeader + 12);
  Header header;
  header.data_start = u32(bytes, 10);
  const std::uint32_t size = u32(bytes, kFileHeader);
  if (size == 12) {
    header.width = u16(bytes, 18);
    header.height = u16(bytes, 20);
    header.bits = u16(bytes, 24);
    header.palette_entry = 3;
  } else if (size == 40 || size == 52 || size == 56 || size == 64 || size == 108 || size == 124) {
    read_info_header(bytes, size, header);
  } else {
    throw unhandled(kFormat, "with a header of " + std::to_string(size) + " bytes");
  }
  if (header.compression != 0 && header.compression != kBitFields) {
    throw unhandled(kFormat, "with compression " + std::to_string(header.compression));
  }
  header.palette_start = kFileHeader + size;
  if (header.bits <= 8) {
    if (header.colors == 0) header.colors = 1u << header.bits;
    const std::uint64_t palette_bytes = std::uint64_t{header.colors} * header.palette_entry;
    // Some writers forget the palette when they say where the pixels start.
    if (header.data_start == header.palette_start || header.data_start == 0) {
      header.data_start = header.palette_start + palette_bytes;
    }
  } else if (header.data_start == 0) {
    header.data_start =
        header.palette_start + (size == 40 && header.compression == kBitFields ? 12 : 0);
  }
  return header;
}

/// What 1, 4 and 8-bit indices stand for, as RGB; black beyond the palette.
std::array<std::uint8_t, 256 * 3> read_palette(Bytes bytes, const Header& header) {
  if (header.colors > 65536) throw damaged(kFormat, "its palette is too large");
  need(bytes, header.palette_start + std::uint64_t{header.colors} * header.palette_entry);
  std::array<std::uint8_t, 256 * 3> palette = {};
  const std::uint8_t* entry = bytes.data() + header.palette_start;
  for (std::size_t i = 0; i < std::min<std::size_t>(header.colors, 256); ++i) {
    for (std::size_t c = 0; c < 3; ++c) palette[i * 3 + c] = entry[2 - c];
    entry += header.palette_entry;
  }
  return palette;
}

/// Which byte of a pixel a mask selects; nothing where it is not exactly one byte.
std::optional<std::size_t> byte_of(std::uint32_t mask) {
  for (std::size_t i = 0; i < 4; ++i) {
    if (mask == 0xFFu << (8 * i)) return i;
  }
  return std::nullopt;
}

/// Turns one stored row into RGB or RGBA.
class RowReader {
 public:
  RowReader(Bytes bytes, const Header& header) : bits_(header.bits), width_(header.width) {
    if (bits_ <= 8) palette_ = read_palette(bytes, header);
    if (bits_ == 16) set_up_16(header);
    if (bits_ == 24 && header.compression == kBitFields &&
        (header.masks[0] != 0xFF0000 || header.masks[1] != 0xFF00 || header.masks[2] != 0xFF)) {
      refuse_masks();
    }
    if (bits_ == 32) set_up_32(header);
  }

  bool has_alpha() const { return has_alpha_; }

  void read(const std::uint8_t* in, std::uint8_t* out, std::size_t channels) const {
    for (std::uint32_t x = 0; x < width_; ++x, out += channels) {
      if (bits_ <= 8) {
        const std::uint32_t bit = x * bits_;
        const unsigned index = (in[bit / 8] >> (8 - bits_ - bit % 8)) & ((1u << bits_) - 1);
        std::copy_n(&palette_[std::size_t{index} * 3], 3, out);
      } else if (bits_ == 16) {
        const unsigned pixel = in[2 * x] | unsigned{in[2 * x + 1]} << 8;
        out[0] = static_cast<std::uint8_t>((pixel >> red_shift_ & 31) * 255 / 31);
        out[1] = static_cast<std::uint8_t>((pixel >> 5 & green_max_) * 255 / green_max_);
        out[2] = static_cast<std::uint8_t>((pixel & 31) * 255 / 31);
      } else {
        const std::uint8_t* pixel = in + std::size_t{x} * (bits_ / 8);
        for (std::size_t c = 0; c < channels; ++c) out[c] = pixel[bytes_[c]];
      }
    }
  }

 private:
  [[noreturn]] static void refuse_masks() { throw unhandled(kFormat, "with unusual bit fields"); }

  void set_up_16(const Header& header) {
    if (header.compression != kBitFields) return;
    const auto& [red, green, blue, alpha] = header.masks;
    if (red == 0xF800 && green == 0x7E0 && blue == 0x1F) {
      red_shift_ = 11;
      green_max_ = 63;
    } else if (red != 0x7C00 || green != 0x3E0 || blue != 0x1F) {
      refuse_masks();
    }
  }

  /// Without bit fields the fourth byte means nothing, as in PIL.
  void set_up_32(const Header& header) {
    if (header.compression != kBitFields) return;
    const bool none =
        std::all_of(header.masks.begin(), header.masks.end(), [](auto m) { return m == 0; });
    has_alpha_ = none || header.masks[3] != 0;
    if (none) return;
    for (std::size_t c = 0; c < (has_alpha_ ? 4u : 3u); ++c) {
      const auto byte = byte_of(header.masks[c]);
      if (!byte) refuse_masks();
      bytes_[c] = *byte;
    }
  }

  std::uint32_t bits_;
  std::uint32_t width_;
  std::array<std::uint8_t, 256 * 3> palette_ = {};
  std::array<std::size_t, 4> bytes_ = {2, 1, 0, 3};  ///< where R, G, B and A lie in a pixel
  unsigned red_shift_ = 10;
  unsigned green_max_ = 31;
  bool has_alpha_ = false;
};

}  // namespace

Pixels decode_bmp(Bytes bytes, const ImageOptions& options) {
  const Header header = read_header(bytes);
  check_size(header.width, header.height, kFormat, options);
  if (header.bits != 1 && header.bits != 4 && header.bits != 8 && header.bits != 16 &&
      header.bits != 24 && header.bits != 32) {
    throw unhandled(kFormat, "with " + std::to_string(header.bits) + " bits a pixel");
  }
  if (header.compression == kBitFields && header.bits <= 8) {
    throw unhandled(kFormat, "with bit fields and a palette");
  }
  const std::uint64_t row_bytes = (std::uint64_t{header.width} * header.bits + 7) / 8;
  const std::uint64_t stride = (row_bytes + 3) / 4 * 4;
  need(bytes, header.data_start + (header.height - 1) * stride + row_bytes);

  const RowReader reader(bytes, header);
  const bool with_alpha = reader.has_alpha() && options.alpha == AlphaMode::white;
  Pixels pixels(static_cast<int>(header.width), static_cast<int>(header.height),
                with_alpha ? 4 : 3);
  const auto channels = static_cast<std::size_t>(pixels.channels);
  for (std::uint32_t y = 0; y < header.height; ++y) {
    const std::uint32_t row = header.top_down ? y : header.height - 1 - y;
    reader.read(bytes.data() + header.data_start + row * stride,
                pixels.values.data() + std::size_t{y} * header.width * channels, channels);
  }
  return pixels;
}

}  // namespace blip
