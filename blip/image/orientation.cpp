#include "blip/image/orientation.h"

#include <algorithm>
#include <array>

namespace blip {
namespace {

/// Reads integers of either byte order; out of range gives nothing.
class Reader {
 public:
  Reader(Bytes bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}

  bool has(std::size_t at, std::size_t size) const {
    return at <= bytes_.size() && size <= bytes_.size() - at;
  }
  std::uint32_t u16(std::size_t at) const { return number(at, 2); }
  std::uint32_t u32(std::size_t at) const { return number(at, 4); }

 private:
  std::uint32_t number(std::size_t at, std::size_t size) const {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      value = value << 8 | bytes_[big_endian_ ? at + i : at + size - 1 - i];
    }
    return value;
  }

  Bytes bytes_;
  bool big_endian_;
};

}  // namespace

int exif_orientation(Bytes exif) {
  constexpr std::array<std::uint8_t, 6> kPrefix = {'E', 'x', 'i', 'f', 0, 0};
  if (exif.size() >= kPrefix.size() && std::equal(kPrefix.begin(), kPrefix.end(), exif.begin())) {
    exif = exif.subspan(kPrefix.size());
  }
  if (exif.size() < 8 || exif[0] != exif[1] || (exif[0] != 'I' && exif[0] != 'M')) return 1;
  const Reader reader(exif, exif[0] == 'M');
  if (reader.u16(2) != 42) return 1;

  constexpr std::size_t kEntrySize = 12;
  constexpr std::uint32_t kOrientationTag = 0x0112;
  constexpr std::uint32_t kShort = 3;
  const std::size_t directory = reader.u32(4);
  if (!reader.has(directory, 2)) return 1;
  const std::size_t entries = reader.u16(directory);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * kEntrySize;
    if (!reader.has(entry, kEntrySize)) return 1;
    if (reader.u16(entry) != kOrientationTag) continue;
    if (reader.u16(entry + 2) != kShort || reader.u32(entry + 4) != 1) return 1;
    const std::uint32_t value = reader.u16(entry + 8);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image turned(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  // Orientations 5 to 8 swap the axes; the others only run along them backwards.
  const bool transposed = orientation >= 5;
  const bool from_right =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const auto width = static_cast<std::ptrdiff_t>(image.width);
  const auto height = static_cast<std::ptrdiff_t>(image.height);

  Image result;
  result.width = transposed ? image.height : image.width;
  result.height = transposed ? image.width : image.height;
  result.rgb.resize(image.rgb.size());
  // A step right or down in the result is a step along these in the source.
  const std::ptrdiff_t step_x = (from_right ? -1 : 1) * std::ptrdiff_t{3};
  const std::ptrdiff_t step_y = (from_bottom ? -1 : 1) * width * 3;
  const std::ptrdiff_t right = transposed ? step_y : step_x;
  const std::ptrdiff_t down = transposed ? step_x : step_y;
  std::ptrdiff_t row = ((from_right ? width - 1 : 0) + (from_bottom ? height - 1 : 0) * width) * 3;

  std::uint8_t* out = result.rgb.data();
  for (int y = 0; y < result.height; ++y, row += down) {
    std::ptrdiff_t at = row;
    for (int x = 0; x < result.width; ++x, at += right, out += 3) {
      std::copy_n(image.rgb.data() + at, 3, out);
    }
  }
  return result;
}

}  // namespace blip
