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
/// Columns filtered together along y, so that their sums stay in the cache.
constexpr std::size_t kStretch = 1536;
/// Rows filtered along x that are kept at once for the filter along y.
constexpr std::size_t kBlockBytes = std::size_t{16} << 20;
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
  HorizontalPass(const Axis& axis, const Image& image, int threads)
      : axis_(axis),
        weights_(axis),
        image_(image),
        in_width_(static_cast<std::size_t>(image.width)),
        plane_(in_width_ + axis.stride),
        threads_(threads),
        scratch_(3 * plane_ * static_cast<std::size_t>(threads)) {}

  /// Rows [begin, end) of the picture, to the first rows of `out`.
  void run(std::size_t begin, std::size_t end, std::uint8_t* out) {
#pragma omp parallel for num_threads(threads_) schedule(static)
    for (std::size_t y = begin; y < end; ++y) {
      run_row(image_.rgb.data() + y * in_width_ * 3, out + (y - begin) * axis_.size() * 3,
              scratch_.data() + 3 * plane_ * static_cast<std::size_t>(omp_get_thread_num()));
    }
  }

 private:
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
  const Image& image_;
  std::size_t in_width_;
  std::size_t plane_;  ///< values of one channel, with zeros behind for the last windows
  int threads_;
  std::vector<std::int16_t> scratch_;  ///< [threads, 3, plane_]
};

Image blank(int width, int height) {
  Image image;
  image.width = width;
  image.height = height;
  image.rgb.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  return image;
}

/// The threads that `work` products are worth, at most one for each of `parts`.
int threads_for(double work, std::size_t parts) {
  if (work < kParallelWork) return 1;
  return static_cast<int>(std::min(static_cast<std::size_t>(omp_get_max_threads()), parts));
}

double work_of(const Axis& axis, int lines) {
  return static_cast<double>(axis.weights.size()) * lines * 3;
}

Image resize_width(const Image& image, int width) {
  const Axis axis = make_axis(image.width, width);
  const auto height = static_cast<std::size_t>(image.height);
  Image result = blank(width, image.height);
  HorizontalPass pass(axis, image, threads_for(work_of(axis, image.height), height));
  pass.run(0, height, result.rgb.data());
  return result;
}

/// Rows of bytes that lie one behind another, seen from one column on.
struct Rows {
  const std::uint8_t* data;
  std::size_t row_size;
};

/// Adds `count` weighted rows to `size` sums. They fit 32 bits: the weights add up to 1, and their
/// magnitudes to less than 1.3.
void add_rows(Rows rows, const std::int32_t* weights, std::size_t count, std::int32_t* sums,
              std::size_t size) {
  for (std::size_t k = 0; k < count; ++k) {
    const std::uint8_t* in = rows.data + k * rows.row_size;
    const std::int32_t weight = weights[k];
    for (std::size_t x = 0; x < size; ++x) sums[x] += weight * in[x];
  }
}

void round_sums(const std::int32_t* sums, std::size_t size, std::uint8_t* out) {
  for (std::size_t x = 0; x < size; ++x) {
    out[x] = static_cast<std::uint8_t>(std::clamp(sums[x] >> kFractionBits, 0, 255));
  }
}

Image resize_height(const Image& image, int height) {
  const Axis axis = make_axis(image.height, height);
  const std::size_t row_size = static_cast<std::size_t>(image.width) * 3;
  Image result = blank(image.width, height);
  const int threads = threads_for(work_of(axis, image.width), axis.size());
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::size_t y = 0; y < axis.size(); ++y) {
    std::int32_t sums[kStretch];
    for (std::size_t x = 0; x < row_size; x += kStretch) {
      const std::size_t size = std::min(kStretch, row_size - x);
      const Rows rows{image.rgb.data() + axis.first[y] * row_size + x, row_size};
      std::fill_n(sums, size, kHalf);
      add_rows(rows, axis.weights_of(y), axis.count[y], sums, size);
      round_sums(sums, size, result.rgb.data() + y * row_size + x);
    }
  }
  return result;
}

/// Filters along y rows that come a block at a time, and keeps the sums of only those output rows
/// whose windows have begun and not ended.
class VerticalSums {
 public:
  VerticalSums(const Axis& axis, Image& result, int threads)
      : axis_(axis),
        result_(result),
        row_size_(static_cast<std::size_t>(result.width) * 3),
        threads_(threads) {}

  /// Rows [begin, end); the next call goes on where this one ended.
  void add(const std::uint8_t* rows, std::size_t begin, std::size_t end) {
    open_windows(begin, end);
    const std::size_t stretches = (row_size_ + kStretch - 1) / kStretch;
#pragma omp parallel for num_threads(threads_) schedule(static) collapse(2)
    for (std::size_t y = open_; y < unopened_; ++y) {
      for (std::size_t stretch = 0; stretch < stretches; ++stretch) {
        add_stretch(rows, begin, end, y, stretch * kStretch);
      }
    }
  }

 private:
  std::size_t window_end(std::size_t y) const {
    return axis_.first[y] + axis_.count[y];
  }

  void open_windows(std::size_t begin, std::size_t end) {
    std::size_t ended = open_;
    while (ended < unopened_ && window_end(ended) <= begin) ++ended;
    sums_.erase(sums_.begin(),
                sums_.begin() + static_cast<std::ptrdiff_t>((ended - open_) * row_size_));
    open_ = ended;
    while (unopened_ < axis_.size() && axis_.first[unopened_] < end) ++unopened_;
    sums_.resize((unopened_ - open_) * row_size_, kHalf);
  }

  /// The part of rows [begin, end) in the window of output row `y`, from column `x` on.
  void add_stretch(const std::uint8_t* rows, std::size_t begin, std::size_t end, std::size_t y,
                   std::size_t x) {
    const std::size_t from = std::max(begin, axis_.first[y]);
    const std::size_t to = std::min(end, window_end(y));
    const std::size_t size = std::min(kStretch, row_size_ - x);
    std::int32_t* sums = sums_.data() + (y - open_) * row_size_ + x;
    add_rows({rows + (from - begin) * row_size_ + x, row_size_},
             axis_.weights_of(y) + (from - axis_.first[y]), to - from, sums, size);
    if (to == window_end(y)) round_sums(sums, size, result_.rgb.data() + y * row_size_ + x);
  }

  const Axis& axis_;
  Image& result_;
  std::size_t row_size_;
  int threads_;
  std::size_t open_ = 0;            ///< first output row whose window has not ended
  std::size_t unopened_ = 0;        ///< first output row whose window has not begun
  std::vector<std::int32_t> sums_;  ///< [unopened_ - open_, row_size_]
};

/// Along x, then along y, where the picture in between would be huge: of that one only a block of
/// rows is there at a time.
Image resize_in_blocks(const Image& image, int width, int height) {
  const Axis columns = make_axis(image.width, width);
  const Axis rows = make_axis(image.height, height);
  const auto in_height = static_cast<std::size_t>(image.height);
  const std::size_t row_size = static_cast<std::size_t>(width) * 3;
  const std::size_t block_rows = std::clamp<std::size_t>(kBlockBytes / row_size, 1, in_height);
  const double work = work_of(columns, image.height) + work_of(rows, width);
  const int threads = threads_for(work, std::max(block_rows, rows.size()));

  Image result = blank(width, height);
  HorizontalPass pass(columns, image, threads);
  VerticalSums sums(rows, result, threads);
  std::vector<std::uint8_t> block(block_rows * row_size);
  for (std::size_t begin = 0; begin < in_height; begin += block_rows) {
    const std::size_t end = std::min(begin + block_rows, in_height);
    pass.run(begin, end, block.data());
    sums.add(block.data(), begin, end);
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
  const std::int64_t pixels_between = std::int64_t{width} * image.height;
  if (image.height > height && pixels_between > std::int64_t{kBlockBytes / 3}) {
    return resize_in_blocks(image, width, height);
  }
  return resize_height(resize_width(image, width), height);
}

}  // namespace blip
