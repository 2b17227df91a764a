#include "train/data/augmentation.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <vector>

#include "blip/image/resize.h"
#include "train/data/rand_augment.h"
#include "train/data/warp.h"

namespace blip::train {
namespace {

struct Box {
  int x, y, width, height;
};

double between(double low, double high, Random& random) {
  return low + (high - low) * random.uniform();
}

/// A whole number in [0, count).
int below(int count, Random& random) {
  return std::min(static_cast<int>(random.uniform() * count), count - 1);
}

Box center_box(const Image& image, double max_ratio) {
  const double ratio = static_cast<double>(image.width) / image.height;
  int width = image.width, height = image.height;
  if (ratio < 1 / max_ratio) height = static_cast<int>(std::lrint(width * max_ratio));
  if (ratio > max_ratio) width = static_cast<int>(std::lrint(height * max_ratio));
  return {(image.width - width) / 2, (image.height - height) / 2, width, height};
}

Box draw_box(const Image& image, const AugmentationOptions& options, Random& random) {
  constexpr int kAttempts = 10;
  const double area = static_cast<double>(image.width) * image.height;
  const double log_ratio = std::log(options.crop_ratio);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const double target = area * between(options.crop_scale_min, 1.0, random);
    const double ratio = std::exp(between(-log_ratio, log_ratio, random));
    const int width = static_cast<int>(std::lrint(std::sqrt(target * ratio)));
    const int height = static_cast<int>(std::lrint(std::sqrt(target / ratio)));
    if (width < 1 || height < 1 || width > image.width || height > image.height) continue;
    const int y = below(image.height - height + 1, random);
    return {below(image.width - width + 1, random), y, width, height};
  }
  return center_box(image, options.crop_ratio);
}

Image crop(const Image& image, const Box& box) {
  if (box.width == image.width && box.height == image.height) return image;
  Image out{box.width, box.height, {}};
  const std::size_t row = static_cast<std::size_t>(box.width) * 3;
  out.rgb.resize(row * static_cast<std::size_t>(box.height));
  for (int y = 0; y < box.height; ++y) {
    const auto from = (static_cast<std::size_t>(box.y + y) * static_cast<std::size_t>(image.width) +
                       static_cast<std::size_t>(box.x)) *
                      3;
    std::copy_n(image.rgb.data() + from, row, out.rgb.data() + static_cast<std::size_t>(y) * row);
  }
  return out;
}

void flip(Image& image) {
  for (int y = 0; y < image.height; ++y) {
    std::uint8_t* row =
        image.rgb.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(image.width) * 3;
    for (int left = 0, right = image.width - 1; left < right; ++left, --right) {
      std::swap_ranges(row + 3 * left, row + 3 * left + 3, row + 3 * right);
    }
  }
}

/// Up to 15 degrees, 10 % larger or smaller, and a shear of up to 0.15.
Image small_affine(const Image& image, Random& random) {
  const double x = image.width / 2.0, y = image.height / 2.0;
  const double scale = between(0.9, 1.1, random);
  const double shear = between(-0.15, 0.15, random);
  const Affine sheared{scale, shear, x - scale * x - shear * y, 0, scale, y - scale * y};
  return warp(image, then(sheared, rotation(between(-15, 15, random), x, y)), Border::edge);
}

/// One axis of a Gaussian blur: `stride` bytes lie between neighbours.
void blur_line(std::uint8_t* line, int count, std::size_t stride,
               const std::vector<float>& kernel) {
  const int radius = static_cast<int>(kernel.size()) / 2;
  std::vector<float> in(static_cast<std::size_t>(count + 2 * radius));
  for (int i = 0; i < count + 2 * radius; ++i) {
    const int from = std::clamp(i - radius, 0, count - 1);
    in[static_cast<std::size_t>(i)] = line[static_cast<std::size_t>(from) * stride];
  }
  for (int i = 0; i < count; ++i) {
    float sum = 0.5F;
    for (std::size_t k = 0; k < kernel.size(); ++k) {
      sum += kernel[k] * in[static_cast<std::size_t>(i) + k];
    }
    line[static_cast<std::size_t>(i) * stride] =
        static_cast<std::uint8_t>(std::clamp(sum, 0.0F, 255.0F));
  }
}

Image blurred(Image image, double sigma) {
  const int radius = std::max(1, static_cast<int>(std::ceil(2.5 * sigma)));
  std::vector<float> kernel;
  float total = 0;
  for (int i = -radius; i <= radius; ++i) {
    kernel.push_back(static_cast<float>(std::exp(-0.5 * i * i / (sigma * sigma))));
    total += kernel.back();
  }
  for (float& weight : kernel) weight /= total;
  const std::size_t row = static_cast<std::size_t>(image.width) * 3;
  for (int y = 0; y < image.height; ++y) {
    for (std::size_t c = 0; c < 3; ++c) {
      blur_line(image.rgb.data() + static_cast<std::size_t>(y) * row + c, image.width, 3, kernel);
    }
  }
  for (std::size_t x = 0; x < row; ++x) blur_line(image.rgb.data() + x, image.height, row, kernel);
  return image;
}

}  // namespace

Image augment(const Image& image, int size, const AugmentationOptions& options, Random& random) {
  if (!options.enabled) return resize_bicubic(image, size, size);
  Image out = resize_bicubic(crop(image, draw_box(image, options, random)), size, size);
  if (options.flip && random.uniform() < 0.5) flip(out);
  if (options.affine > 0 && random.uniform() < options.affine) out = small_affine(out, random);
  if (options.blur > 0 && random.uniform() < options.blur) {
    out = blurred(std::move(out), between(0.1, 0.9, random) * size / 64.0);
  }
  return rand_augment(std::move(out), options.operations, options.level, random);
}

}  // namespace blip::train
