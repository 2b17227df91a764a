#include <algorithm>
#include <array>
#include <cstring>

#include "blip/image/codecs.h"
#include "blip/image/tiff_file.h"

namespace blip {
namespace {

constexpr char kFormat[] = "TIFF";

enum class Alpha { none, straight, premultiplied };

/// How the samples are stored and which of them are kept.
struct Layout {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint16_t photometric = PHOTOMETRIC_MINISWHITE;
  std::uint16_t bits = 1;
  std::uint16_t samples = 1;
  std::uint16_t format = SAMPLEFORMAT_UINT;
  std::uint16_t compression = COMPRESSION_NONE;
  bool planar = false;
  unsigned colors = 1;  ///< samples before the extra ones
  Alpha alpha = Alpha::none;
  unsigned kept = 1;          ///< samples kept of a pixel: the colours and perhaps alpha
  bool through_rgba = false;  ///< left to libtiff's own conversion: subsampled YCbCr

  bool is_grey() const { return photometric <= PHOTOMETRIC_MINISBLACK; }
};

[[noreturn]] void refuse(const Layout& layout) {
  throw unhandled(kFormat, "of photometric kind " + std::to_string(layout.photometric) + " with " +
                               std::to_string(layout.samples) + " samples of " +
                               std::to_string(layout.bits) + " bits");
}

Alpha alpha_of(TIFF* tiff, const Layout& layout) {
  if (layout.samples <= layout.colors) return Alpha::none;
  std::uint16_t count = 0;
  const std::uint16_t* kinds = nullptr;
  constexpr std::uint16_t kCorelDraw = 999;
  if (TIFFGetField(tiff, TIFFTAG_EXTRASAMPLES, &count, &kinds) == 0 || count == 0) {
    return layout.colors == 3 && layout.samples == 4 ? Alpha::straight : Alpha::none;
  }
  if (kinds[0] == EXTRASAMPLE_ASSOCALPHA) return Alpha::premultiplied;
  return kinds[0] == EXTRASAMPLE_UNASSALPHA || kinds[0] == kCorelDraw ? Alpha::straight
                                                                      : Alpha::none;
}

void check_compression(const Layout& layout) {
  // The codecs that are in common use; the rest are rare, old and little tested.
  constexpr std::array<std::uint16_t, 13> kHandled = {
      COMPRESSION_NONE,          COMPRESSION_CCITTRLE,  COMPRESSION_CCITTFAX3,
      COMPRESSION_CCITTFAX4,     COMPRESSION_CCITTRLEW, COMPRESSION_LZW,
      COMPRESSION_JPEG,          COMPRESSION_PACKBITS,  COMPRESSION_DEFLATE,
      COMPRESSION_ADOBE_DEFLATE, COMPRESSION_LZMA,      COMPRESSION_ZSTD,
      COMPRESSION_WEBP};
  if (std::find(kHandled.begin(), kHandled.end(), layout.compression) == kHandled.end() ||
      TIFFIsCODECConfigured(layout.compression) == 0) {
    throw unhandled(kFormat, "with compression " + std::to_string(layout.compression));
  }
}

void set_up_ycbcr(TIFF* tiff, Layout& layout) {
  std::uint16_t across = 2;
  std::uint16_t down = 2;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_YCBCRSUBSAMPLING, &across, &down);
  if (layout.samples == 1) {
    layout.photometric = PHOTOMETRIC_MINISBLACK;
  } else if (layout.compression == COMPRESSION_JPEG && !layout.planar) {
    TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    layout.photometric = PHOTOMETRIC_RGB;
  } else if (layout.compression != COMPRESSION_NONE || across != 1 || down != 1) {
    layout.through_rgba = true;
  }
}

/// Whether `sample` below can read them: 1, 2 and 4 bits alone, deep ones only where PIL has a
/// mode.
bool has_handled_samples(const Layout& layout) {
  const bool palette = layout.photometric == PHOTOMETRIC_PALETTE;
  const bool whole =
      layout.format == SAMPLEFORMAT_UINT || (layout.is_grey() && layout.format == SAMPLEFORMAT_INT);
  switch (layout.bits) {
    case 1:
    case 2:
    case 4:
      return whole && layout.samples == 1;
    case 8:
      return whole;
    case 16:
      return whole && !palette && layout.photometric != PHOTOMETRIC_YCBCR;
    case 32:
      return layout.is_grey() && (whole || layout.format == SAMPLEFORMAT_IEEEFP);
    default:
      return false;
  }
}

Layout read_layout(TIFF* tiff, const ImageOptions& options) {
  Layout layout;
  TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &layout.width);
  TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &layout.height);
  check_size(layout.width, layout.height, kFormat, options);
  TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &layout.photometric);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &layout.bits);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &layout.samples);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &layout.format);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &layout.compression);
  std::uint16_t planar = PLANARCONFIG_CONTIG;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &planar);
  layout.planar = planar == PLANARCONFIG_SEPARATE && layout.samples > 1;
  check_compression(layout);
  if (layout.photometric == PHOTOMETRIC_YCBCR) set_up_ycbcr(tiff, layout);

  const bool color =
      layout.photometric == PHOTOMETRIC_RGB || layout.photometric == PHOTOMETRIC_YCBCR;
  const bool inks = layout.photometric == PHOTOMETRIC_SEPARATED;
  const bool palette = layout.photometric == PHOTOMETRIC_PALETTE;
  if (!color && !inks && !palette && !layout.is_grey()) refuse(layout);
  layout.colors = color ? 3 : inks ? 4 : 1;
  constexpr unsigned kMaxSamples = 8;
  if (layout.samples < layout.colors || layout.samples > kMaxSamples) refuse(layout);
  if (!has_handled_samples(layout)) refuse(layout);

  if (!inks) layout.alpha = alpha_of(tiff, layout);
  const bool dropped = options.alpha == AlphaMode::drop;
  if (layout.alpha == Alpha::straight && dropped) layout.alpha = Alpha::none;
  layout.kept = layout.colors + (layout.alpha == Alpha::none ? 0 : 1);
  return layout;
}

template <typename Number>
Number number_at(const std::uint8_t* row, std::size_t i) {
  Number value;
  std::memcpy(&value, row + i * sizeof(Number), sizeof(Number));
  return value;
}

/// PIL clips deep grey, it does not scale it. NaN becomes 0.
template <typename Number>
std::uint8_t clipped(Number value) {
  return value >= Number{255} ? 255 : value > Number{0} ? static_cast<std::uint8_t>(value) : 0;
}

/// Sample `i` of a stored row as 8 bits.
std::uint8_t sample(const Layout& layout, const std::uint8_t* row, std::size_t i) {
  if (layout.bits == 8) return row[i];
  if (layout.bits == 16) {
    const auto value = number_at<std::uint16_t>(row, i);
    if (!layout.is_grey()) return static_cast<std::uint8_t>(value >> 8);
    return layout.format == SAMPLEFORMAT_INT ? clipped(static_cast<std::int16_t>(value))
                                             : clipped(value);
  }
  if (layout.bits == 32) {
    if (layout.format == SAMPLEFORMAT_IEEEFP) return clipped(number_at<float>(row, i));
    if (layout.format == SAMPLEFORMAT_INT) return clipped(number_at<std::int32_t>(row, i));
    return clipped(number_at<std::uint32_t>(row, i));
  }
  const std::size_t bit = i * layout.bits;
  const unsigned top = (1u << layout.bits) - 1;
  const unsigned value = (row[bit / 8] >> (8 - layout.bits - bit % 8)) & top;
  return static_cast<std::uint8_t>(layout.is_grey() ? value * (255 / top) : value);
}

/// Keeps `count` pixels of a stored row; of a planar one, the samples of its plane.
void keep_row(const Layout& layout, const std::uint8_t* row, std::size_t count, unsigned plane,
              std::uint8_t* out) {
  if (layout.planar) {
    for (std::size_t i = 0; i < count; ++i) out[i * layout.kept + plane] = sample(layout, row, i);
  } else if (layout.bits == 8 && layout.kept == layout.samples) {
    std::memcpy(out, row, count * layout.kept);
  } else {
    for (std::size_t i = 0; i < count; ++i) {
      for (unsigned s = 0; s < layout.kept; ++s) {
        *out++ = sample(layout, row, i * layout.samples + s);
      }
    }
  }
}

std::size_t row_bytes(const Layout& layout, std::size_t width) {
  return (width * (layout.planar ? 1 : layout.samples) * layout.bits + 7) / 8;
}

void read_strips(const TiffFile& file, const Layout& layout, std::uint8_t* out) {
  const tmsize_t size = TIFFScanlineSize(file.get());
  if (size < 0 || static_cast<std::size_t>(size) != row_bytes(layout, layout.width)) file.fail();
  std::vector<std::uint8_t> row(static_cast<std::size_t>(size));
  for (unsigned plane = 0; plane < (layout.planar ? layout.kept : 1u); ++plane) {
    for (std::uint32_t y = 0; y < layout.height; ++y) {
      const auto sample_plane = static_cast<std::uint16_t>(plane);
      if (TIFFReadScanline(file.get(), row.data(), y, sample_plane) < 0) file.fail();
      keep_row(layout, row.data(), layout.width, plane,
               out + std::size_t{y} * layout.width * layout.kept);
    }
  }
}

/// A tile may be larger than a small picture and reach beyond a large one's edges, but not without
/// end: many tiles can share one small compressed block.
void check_tiles(const TiffFile& file, const Layout& layout) {
  std::uint32_t across = 0;
  std::uint32_t down = 0;
  TIFFGetField(file.get(), TIFFTAG_TILEWIDTH, &across);
  TIFFGetField(file.get(), TIFFTAG_TILELENGTH, &down);
  const tmsize_t size = TIFFTileSize(file.get());
  if (across == 0 || down == 0 || size <= 0) file.fail();
  const auto tile_bytes = static_cast<std::size_t>(size);
  const auto along = [](std::size_t side, std::size_t tile) { return (side + tile - 1) / tile; };
  const std::size_t planes = layout.planar ? layout.kept : 1;
  const std::size_t tiles = along(layout.width, across) * along(layout.height, down) * planes;
  const std::size_t plane_bytes = row_bytes(layout, layout.width) * layout.height;
  constexpr std::size_t kAlways = std::size_t{16} << 20;
  constexpr std::size_t kAlwaysTogether = std::size_t{256} << 20;
  if (tile_bytes > kAlways + plane_bytes ||
      tiles > (kAlwaysTogether + 4 * planes * plane_bytes) / tile_bytes) {
    throw damaged(kFormat, "its tiles are far larger than the picture");
  }
}

void read_tiles(const TiffFile& file, const Layout& layout, std::uint8_t* out) {
  std::uint32_t across = 0;
  std::uint32_t down = 0;
  TIFFGetField(file.get(), TIFFTAG_TILEWIDTH, &across);
  TIFFGetField(file.get(), TIFFTAG_TILELENGTH, &down);
  const tmsize_t size = TIFFTileSize(file.get());
  const tmsize_t stride = TIFFTileRowSize(file.get());
  if (size <= 0 || stride <= 0 || static_cast<std::size_t>(stride) < row_bytes(layout, across) ||
      size / stride < tmsize_t{down}) {
    file.fail();
  }
  std::vector<std::uint8_t> tile(static_cast<std::size_t>(size));
  for (unsigned plane = 0; plane < (layout.planar ? layout.kept : 1u); ++plane) {
    for (std::uint32_t y = 0; y < layout.height; y += std::min(down, layout.height - y)) {
      for (std::uint32_t x = 0; x < layout.width; x += std::min(across, layout.width - x)) {
        const auto sample_plane = static_cast<std::uint16_t>(plane);
        if (TIFFReadTile(file.get(), tile.data(), x, y, 0, sample_plane) < 0) file.fail();
        const std::uint32_t columns = std::min(across, layout.width - x);
        const std::uint32_t rows = std::min(down, layout.height - y);
        for (std::uint32_t r = 0; r < rows; ++r) {
          keep_row(layout, tile.data() + std::size_t{r} * static_cast<std::size_t>(stride), columns,
                   plane, out + (std::size_t{y + r} * layout.width + x) * layout.kept);
        }
      }
    }
  }
}

std::array<std::uint8_t, 256 * 3> read_palette(TIFF* tiff, const Layout& layout) {
  std::array<const std::uint16_t*, 3> maps = {};
  if (TIFFGetField(tiff, TIFFTAG_COLORMAP, &maps[0], &maps[1], &maps[2]) == 0) {
    throw damaged(kFormat, "its palette is missing");
  }
  std::array<std::uint8_t, 256 * 3> palette = {};
  for (std::size_t i = 0; i < std::size_t{1} << layout.bits; ++i) {
    for (std::size_t c = 0; c < 3; ++c) {
      palette[i * 3 + c] = static_cast<std::uint8_t>(maps[c][i] >> 8);
    }
  }
  return palette;
}

/// One-sample pixels through a table of colours, with alpha behind where it is kept.
Pixels expand(const Layout& layout, const std::vector<std::uint8_t>& kept,
              const std::array<std::uint8_t, 256 * 3>& colors) {
  Pixels pixels(static_cast<int>(layout.width), static_cast<int>(layout.height),
                layout.kept == 2 ? 4 : 3);
  const std::uint8_t* in = kept.data();
  std::uint8_t* out = pixels.values.data();
  for (std::size_t i = 0; i < pixels.count(); ++i) {
    out = std::copy_n(&colors[*in++ * std::size_t{3}], 3, out);
    if (layout.kept == 2) *out++ = *in++;
  }
  return pixels;
}

std::array<std::uint8_t, 256 * 3> grey_colors(const Layout& layout) {
  // Deep grey is not turned round, as in PIL.
  const bool inverted = layout.photometric == PHOTOMETRIC_MINISWHITE && layout.bits <= 8;
  std::array<std::uint8_t, 256 * 3> colors;
  for (std::size_t i = 0; i < colors.size(); ++i) {
    colors[i] = static_cast<std::uint8_t>(inverted ? 255 - i / 3 : i / 3);
  }
  return colors;
}

void convert_inks(Pixels& pixels, std::size_t stride) {
  const std::uint8_t* in = pixels.values.data();
  std::uint8_t* out = pixels.values.data();
  for (std::size_t i = 0; i < pixels.count(); ++i, in += stride, out += 3) {
    const unsigned black = in[3];
    for (int c = 0; c < 3; ++c) out[c] = from_ink(in[c], black);
  }
  pixels.values.resize(pixels.count() * 3);
  pixels.channels = 3;
}

/// JPEG's YCbCr in PIL's fixed point (6 bits).
void convert_ycbcr(Pixels& pixels) {
  const auto term = [](int chroma, double factor) {
    return static_cast<int>((chroma - 128) * factor * 64 + 0.5) >> 6;
  };
  std::uint8_t* pixel = pixels.values.data();
  const auto stride = static_cast<std::size_t>(pixels.channels);
  for (std::size_t i = 0; i < pixels.count(); ++i, pixel += stride) {
    const int y = pixel[0];
    const int cb = pixel[1];
    const int cr = pixel[2];
    const int green = (static_cast<int>((cb - 128) * -0.34414 * 64 + 0.5) +
                       static_cast<int>((cr - 128) * -0.71414 * 64 + 0.5)) >>
                      6;
    pixel[0] = clipped(y + term(cr, 1.402));
    pixel[1] = clipped(y + green);
    pixel[2] = clipped(y + term(cb, 1.772));
  }
}

void divide_by_alpha(Pixels& pixels) {
  std::uint8_t* pixel = pixels.values.data();
  for (std::size_t i = 0; i < pixels.count(); ++i, pixel += 4) {
    const unsigned alpha = pixel[3];
    for (int c = 0; c < 3; ++c) pixel[c] = alpha == 0 ? 0 : clipped(pixel[c] * 255u / alpha);
  }
}

void drop_alpha(Pixels& pixels) {
  const std::uint8_t* in = pixels.values.data();
  std::uint8_t* out = pixels.values.data();
  for (std::size_t i = 0; i < pixels.count(); ++i, in += 4) out = std::copy_n(in, 3, out);
  pixels.values.resize(pixels.count() * 3);
  pixels.channels = 3;
}

Pixels read_samples(const TiffFile& file, const Layout& layout) {
  Pixels pixels(static_cast<int>(layout.width), static_cast<int>(layout.height),
                static_cast<int>(layout.kept));
  const auto read_all = TIFFIsTiled(file.get()) != 0 ? read_tiles : read_strips;
  read_all(file, layout, pixels.values.data());
  if (layout.colors == 1) {
    const bool palette = layout.photometric == PHOTOMETRIC_PALETTE;
    return expand(layout, pixels.values,
                  palette ? read_palette(file.get(), layout) : grey_colors(layout));
  }
  if (layout.colors == 4) convert_inks(pixels, layout.kept);
  if (layout.photometric == PHOTOMETRIC_YCBCR) convert_ycbcr(pixels);
  return pixels;
}

Pixels read_through_rgba(const TiffFile& file, const Layout& layout) {
  Pixels pixels(static_cast<int>(layout.width), static_cast<int>(layout.height), 3);
  std::vector<std::uint32_t> raster(pixels.count());
  TIFFSetField(file.get(), TIFFTAG_ORIENTATION, ORIENTATION_TOPLEFT);  // it is turned later
  if (TIFFReadRGBAImageOriented(file.get(), layout.width, layout.height, raster.data(),
                                ORIENTATION_TOPLEFT, 1) == 0) {
    file.fail();
  }
  std::uint8_t* out = pixels.values.data();
  for (const std::uint32_t pixel : raster) {
    *out++ = static_cast<std::uint8_t>(TIFFGetR(pixel));
    *out++ = static_cast<std::uint8_t>(TIFFGetG(pixel));
    *out++ = static_cast<std::uint8_t>(TIFFGetB(pixel));
  }
  return pixels;
}

}  // namespace

Pixels decode_tiff(Bytes bytes, const ImageOptions& options) {
  const TiffFile file(bytes, options.max_pixels);
  const Layout layout = read_layout(file.get(), options);
  if (TIFFIsTiled(file.get()) != 0) check_tiles(file, layout);
  // Unlike that of the other formats, TIFF's orientation is part of the picture: PIL always turns.
  std::uint16_t orientation = ORIENTATION_TOPLEFT;
  TIFFGetFieldDefaulted(file.get(), TIFFTAG_ORIENTATION, &orientation);
  Pixels pixels =
      layout.through_rgba ? read_through_rgba(file, layout) : read_samples(file, layout);
  if (layout.alpha == Alpha::premultiplied && pixels.channels == 4) {
    divide_by_alpha(pixels);
    if (options.alpha == AlphaMode::drop) drop_alpha(pixels);
  }
  pixels.orientation = orientation;
  return pixels;
}

}  // namespace blip
