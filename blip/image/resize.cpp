#include "blip/image/resize.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "blip/base/error.h"

namespace blip {
namespace {

constexpr int kFractionBits = 22;
constexpr std::int32_t kHalf = 1 << (kFractionBits - 1);
constexpr int kLowBits = 12;  // weights are split so that 16-bit products suffice
constexpr std::size_t kLanes = 8;
/// Sums of this many products of a byte and half a weight fit 32 bits.
constexpr std::size_t kBlock = 1024;
/// Below this many products a second thread is not worth waking.
constexpr double kParallelWork = 4e6;

double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

std::uint8_t to_byte(std::int64_t sum) {
  return static_cast<std::uint8_t>(
      std::clamp<std::int64_t>((sum + kHalf) >> kFractionBits, 0, 255));
}

/// The window and the weights of each output position of one axis.
struct Axis {
  std::vector<std::size_t> first;
  std::vector<std::size_t> count;
  std::size_t stride = 0;             ///< weights kept of each position, zeros behind `count`
  std::vector<std::int32_t> weights;  ///< [positions, stride]

  std::size_t size() const { return first.size(); }
  const std::int32_t* weights_of(std::size_t i) const { return weights.data() + i * stride; }
};

Axis make_axis(int in, int out) {
  const double scale = static_cast<double>(in) / out;
  const double filter_scale = std::max(scale, 1.0);
  const double support = 2.0 * filter_scale;
  const double inverse = 1.0 / filter_scale;
  const auto longest = static_cast<std::size_t>(std::ceil(support)) * 2 + 1;

  Axis axis;
  axis.stride = (longest + kLanes - 1) / kLanes * kLanes;
  axis.weights.resize(static_cast<std::size_t>(out) * axis.stride);
  std::vector<double> window(longest);
  for (int i = 0; i < out; ++i) {
    const double center = (i + 0.5) * scale;
    const int begin = std::max(static_cast<int>(center - support + 0.5), 0);
    const int end = std::min(static_cast<int>(center + support + 0.5), in);
    const auto count = static_cast<std::size_t>(end - begin);
    double total = 0.0;
    for (std::size_t k = 0; k < count; ++k) {
      window[k] = cubic((static_cast<double>(k) + begin - center + 0.5) * inverse);
      total += window[k];
    }
    std::int32_t* weights = axis.weights.data() + static_cast<std::size_t>(i) * axis.stride;
    for (std::size_t k = 0; k < count; ++k) {
      const double weight = total != 0.0 ? window[k] / total : window[k];
      weights[k] =
          static_cast<std::int32_t>(std::copysign(0.5, weight) + weight * (1 << kFractionBits));
    }
    axis.first.push_back(static_cast<std::size_t>(begin));
    axis.count.push_back(count);
  }
  return axis;
}

struct SplitWeights {
  explicit SplitWeights(const Axis& axis) {
    for (const std::int32_t weight : axis.weights) {
      high.push_back(static_cast<std::int16_t>(weight >> kLowBits));
      low.push_back(static_cast<std::int16_t>(weight & ((1 << kLowBits) - 1)));
    }
  }

  std::vector<std::int16_t> high;
  std::vector<std::int16_t> low;
};

/// Filters rows along x. Each row is first taken apart into its channels, as 16-bit numbers: then a
/// window is a dot product that compilers turn into multiply-add instructions.
class HorizontalPass {
 public:
  HorizontalPass(const Axis& axis, std::size_t in_width)
      : axis_(axis), weights_(axis), in_width_(in_width), plane_(in_width + axis.stride) {}

  /// int16 values that run_row needs, zero at first.
  std::size_t scratch_size() const { return 3 * plane_; }

  void run_row(const std::uint8_t* in, std::uint8_t* out, std::int16_t* scratch) const {
    std::int16_t* red = scratch;
    std::int16_t* green = scratch + plane_;
    std::int16_t* blue = scratch + 2 * plane_;
    for (std::size_t x = 0; x < in_width_; ++x) {
      red[x] = in[3 * x];
      green[x] = in[3 * x + 1];
      blue[x] = in[3 * x + 2];
    }
    for (std::size_t x = 0; x < axis_.size(); ++x, out += 3) {
      const std::size_t first = axis_.first[x];
      const std::size_t count = (axis_.count[x] + kLanes - 1) / kLanes * kLanes;
      std::int64_t sums[3] = {};
      for (std::size_t k = 0; k < count; k += kBlock) {
        add_block(scratch + first + k, x * axis_.stride + k, std::min(kBlock, count - k), sums);
      }
      for (int c = 0; c < 3; ++c) out[c] = to_byte(sums[c]);
    }
  }

 private:
  void add_block(const std::int16_t* red, std::size_t at, std::size_t count,
                 std::int64_t* sums) const {
    const std::int16_t* green = red + plane_;
    const std::int16_t* blue = green + plane_;
    const std::int16_t* high = weights_.high.data() + at;
    const std::int16_t* low = weights_.low.data() + at;
    std::int32_t high_sums[3] = {};
    std::int32_t low_sums[3] = {};
    for (std::size_t k = 0; k < count; ++k) {
      high_sums[0] += red[k] * high[k];
      high_sums[1] += green[k] * high[k];
      high_sums[2] += blue[k] * high[k];
      low_sums[0] += red[k] * low[k];
      low_sums[1] += green[k] * low[k];
      low_sums[2] += blue[k] * low[k];
    }
    for (int c = 0; c < 3; ++c) {
      sums[c] += std::int64_t{high_sums[c]} * (1 << kLowBits) + low_sums[c];
    }
  }

  const Axis& axis_;
  SplitWeights weights_;
  std::size_t in_width_;
  std::size_t plane_;
};

Image blank(int width, int height) {
  Image image;
  image.width = width;
  image.height = height;
  image.rgb.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  return image;
}

Image resize_width(const Image& image, int width) {
  const Axis axis = make_axis(image.width, width);
  const auto in_width = static_cast<std::size_t>(image.width);
  const HorizontalPass pass(axis, in_width);
  Image result = blank(width, image.height);
  const double work = static_cast<double>(axis.weights.size()) * image.height * 3;
  const int threads = work < kParallelWork ? 1 : std::min(omp_get_max_threads(), image.height);
  std::vector<std::int16_t> scratch(pass.scratch_size() * static_cast<std::size_t>(threads));
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int y = 0; y < image.height; ++y) {
    const auto row = static_cast<std::size_t>(y);
    pass.run_row(
        image.rgb.data() + row * in_width * 3,
        result.rgb.data() + row * static_cast<std::size_t>(width) * 3,
        scratch.data() + pass.scratch_size() * static_cast<std::size_t>(omp_get_thread_num()));
  }
  return result;
}

/// Filters one output row along y, a stretch of columns at a time so that the sums stay in cache.
void resize_column_stretch(const Image& image, const Axis& axis, std::size_t y, std::uint8_t* out) {
  constexpr std::size_t kStretch = 1536;
  const std::size_t row_size = static_cast<std::size_t>(image.width) * 3;
  std::int32_t sums[kStretch];
  for (std::size_t start = 0; start < row_size; start += kStretch) {
    const std::size_t size = std::min(kStretch, row_size - start);
    const std::uint8_t* in = image.rgb.data() + axis.first[y] * row_size + start;
    std::fill_n(sums, size, kHalf);
    for (std::size_t k = 0; k < axis.count[y]; ++k, in += row_size) {
      const std::int32_t weight = axis.weights_of(y)[k];
      for (std::size_t x = 0; x < size; ++x) sums[x] += weight * in[x];
    }
    for (std::size_t x = 0; x < size; ++x) {
      out[start + x] = static_cast<std::uint8_t>(std::clamp(sums[x] >> kFractionBits, 0, 255));
    }
  }
}

Image resize_height(const Image& image, int height) {
  const Axis axis = make_axis(image.height, height);
  Image result = blank(image.width, height);
  const double work = static_cast<double>(axis.weights.size()) * image.width * 3;
  const int threads = work < kParallelWork ? 1 : std::min(omp_get_max_threads(), height);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int y = 0; y < height; ++y) {
    const auto row = static_cast<std::size_t>(y);
    resize_column_stretch(image, axis, row,
                          result.rgb.data() + row * static_cast<std::size_t>(image.width) * 3);
  }
  return result;
}

void check_arguments(const Image& image, int width, int height) {
  if (width < 1 || height < 1) {
    throw Error(ErrorCode::usage, "a picture cannot be resized to " + std::to_string(width) +
                                      " x " + std::to_string(height) + " pixels");
  }
  if (image.width < 1 || image.height < 1 ||
      image.rgb.size() / 3 / static_cast<std::size_t>(image.width) !=
          static_cast<std::size_t>(image.height) ||
      image.rgb.size() % (3 * static_cast<std::size_t>(image.width)) != 0) {
    throw Error(ErrorCode::usage, "a picture of " + std::to_string(image.width) + " x " +
                                      std::to_string(image.height) + " pixels cannot hold " +
                                      std::to_string(image.rgb.size()) + " bytes");
  }
}

}  // namespace

Image resize_bicubic(const Image& image, int width, int height, PassOrder order) {
  check_arguments(image, width, height);
  // An axis whose size does not change is not filtered.
  if (image.width == width && image.height == height) return image;
  if (image.width == width) return resize_height(image, height);
  if (image.height == height) return resize_width(image, width);
  const std::int64_t shrink_x = std::int64_t{image.width} - width;
  const std::int64_t shrink_y = std::int64_t{image.height} - height;
  if (order == PassOrder::pillow_13 && shrink_y > 0 && shrink_y > 2 * shrink_x) {
    return resize_width(resize_height(image, height), width);
  }
  return resize_height(resize_width(image, width), height);
}

}  // namespace blip
