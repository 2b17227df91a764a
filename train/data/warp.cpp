#include "train/data/warp.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

namespace blip::train {
namespace {

constexpr int kStepBits = 5;  ///< coordinates are multiples of 1/32
constexpr int kSteps = 1 << kStepBits;
constexpr int kScaleBits = 10;  ///< of the sums that become coordinates
constexpr int kWeightBits = 2 * kStepBits;
constexpr int kGray = 128;

Affine inverse(const Affine& m) {
  const double determinant = m[0] * m[4] - m[1] * m[3];
  const double scale = 1.0 / determinant;
  const double a = m[4] * scale, b = -m[1] * scale, c = -m[3] * scale, d = m[0] * scale;
  return {a, b, -a * m[2] - b * m[5], c, d, -c * m[2] - d * m[5]};
}

std::int64_t fixed(double value) {
  return std::llrint(std::clamp(value, -1e6, 1e6) * (1 << kScaleBits));
}

/// Reads pixels of a picture, and what its border says about those outside.
class Source {
 public:
  Source(const Image& image, Border border) : image_(image), border_(border) {}

  int at(std::int64_t x, std::int64_t y, int channel) const {
    if (border_ == Border::edge) {
      x = std::clamp<std::int64_t>(x, 0, image_.width - 1);
      y = std::clamp<std::int64_t>(y, 0, image_.height - 1);
    } else if (x < 0 || y < 0 || x >= image_.width || y >= image_.height) {
      return kGray;
    }
    return image_.rgb[static_cast<std::size_t>((y * image_.width + x) * 3 + channel)];
  }

 private:
  const Image& image_;
  Border border_;
};

}  // namespace

Affine rotation(double degrees, double center_x, double center_y) {
  const double angle = degrees * std::numbers::pi / 180.0;
  const double c = std::cos(angle), s = std::sin(angle);
  return {c,  s, (1 - c) * center_x - s * center_y,  //
          -s, c, s * center_x + (1 - c) * center_y};
}

Affine then(const Affine& f, const Affine& s) {
  return {s[0] * f[0] + s[1] * f[3], s[0] * f[1] + s[1] * f[4], s[0] * f[2] + s[1] * f[5] + s[2],
          s[3] * f[0] + s[4] * f[3], s[3] * f[1] + s[4] * f[4], s[3] * f[2] + s[4] * f[5] + s[5]};
}

Image warp(const Image& image, const Affine& map, Border border) {
  const Affine back = inverse(map);
  const Source source(image, border);
  Image out{image.width, image.height, std::vector<std::uint8_t>(image.rgb.size())};
  constexpr std::int64_t kHalfStep = 1 << (kScaleBits - kStepBits - 1);
  std::size_t at = 0;
  for (int y = 0; y < image.height; ++y) {
    const std::int64_t row_x = fixed(back[1] * y + back[2]) + kHalfStep;
    const std::int64_t row_y = fixed(back[4] * y + back[5]) + kHalfStep;
    for (int x = 0; x < image.width; ++x) {
      const std::int64_t from_x = (row_x + fixed(back[0] * x)) >> (kScaleBits - kStepBits);
      const std::int64_t from_y = (row_y + fixed(back[3] * x)) >> (kScaleBits - kStepBits);
      const std::int64_t left = from_x >> kStepBits, top = from_y >> kStepBits;
      const int fx = static_cast<int>(from_x & (kSteps - 1));
      const int fy = static_cast<int>(from_y & (kSteps - 1));
      for (int c = 0; c < 3; ++c) {
        const int upper =
            (kSteps - fx) * source.at(left, top, c) + fx * source.at(left + 1, top, c);
        const int lower =
            (kSteps - fx) * source.at(left, top + 1, c) + fx * source.at(left + 1, top + 1, c);
        const int sum = (kSteps - fy) * upper + fy * lower;
        out.rgb[at++] = static_cast<std::uint8_t>((sum + (1 << (kWeightBits - 1))) >> kWeightBits);
      }
    }
  }
  return out;
}

}  // namespace blip::train
