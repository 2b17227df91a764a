#include "train/data/rand_augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "train/data/warp.h"

namespace blip::train {
namespace {

constexpr double kMaxLevel = 10.0;

constexpr Operation kOperations[] = {
    Operation::identity,    Operation::auto_contrast, Operation::brightness, Operation::sharpness,
    Operation::equalize,    Operation::shear_x,       Operation::shear_y,    Operation::translate_x,
    Operation::translate_y, Operation::rotate,
};

constexpr std::string_view kNames[] = {"Identity",   "AutoContrast", "Brightness", "Sharpness",
                                       "Equalize",   "ShearX",       "ShearY",     "TranslateX",
                                       "TranslateY", "Rotate"};

using Table = std::array<std::uint8_t, 256>;
using Histogram = std::array<std::int64_t, 256>;

std::uint8_t cut(double value) {
  return static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0));
}

Histogram histogram(const Image& image, int channel) {
  Histogram counts{};
  for (std::size_t i = static_cast<std::size_t>(channel); i < image.rgb.size(); i += 3) {
    ++counts[image.rgb[i]];
  }
  return counts;
}

Table identity_table() {
  Table table;
  for (int i = 0; i < 256; ++i) table[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(i);
  return table;
}

Table contrast_table(const Histogram& counts) {
  std::size_t low = 0, high = 255;
  while (low < 255 && counts[low] == 0) ++low;
  while (high > 0 && counts[high] == 0) --high;
  Table table = identity_table();
  if (high <= low) return table;
  const double scale = 255.0 / static_cast<double>(high - low);
  const double offset = -static_cast<double>(low) * scale;
  for (std::size_t i = 0; i < 256; ++i) table[i] = cut(static_cast<double>(i) * scale + offset);
  return table;
}

/// PIL's: the brightest value that occurs does not count into the step.
Table equalize_table(const Histogram& counts) {
  std::int64_t total = 0, last = 0;
  for (const std::int64_t count : counts) {
    total += count;
    if (count != 0) last = count;
  }
  const std::int64_t step = (total - last) / 255;
  Table table = identity_table();
  if (step == 0) return table;
  std::int64_t sum = step / 2;
  for (std::size_t i = 0; i < 256; ++i) {
    table[i] = static_cast<std::uint8_t>(std::min<std::int64_t>(sum / step, 255));
    sum += counts[i];
  }
  return table;
}

template <class MakeTable>
Image per_channel(Image image, MakeTable make_table) {
  for (int channel = 0; channel < 3; ++channel) {
    const Table table = make_table(histogram(image, channel));
    for (std::size_t i = static_cast<std::size_t>(channel); i < image.rgb.size(); i += 3) {
      image.rgb[i] = table[image.rgb[i]];
    }
  }
  return image;
}

Image brighten(Image image, double factor) {
  Table table;
  for (std::size_t i = 0; i < 256; ++i) {
    table[i] = cut(static_cast<float>(i) * static_cast<float>(factor));
  }
  for (std::uint8_t& value : image.rgb) value = table[value];
  return image;
}

/// Between the picture and its 3x3 smoothing; pixels on the rim stay.
Image sharpen(const Image& image, double factor) {
  if (factor == 1.0) return image;
  Image out = image;
  const std::size_t row = static_cast<std::size_t>(image.width) * 3;
  for (int y = 1; y + 1 < image.height; ++y) {
    for (std::size_t x = 3; x + 3 < row; ++x) {
      const std::uint8_t* p = image.rgb.data() + static_cast<std::size_t>(y) * row + x;
      const int sum = *(p - row - 3) + *(p - row) + *(p - row + 3) + *(p - 3) + 5 * *p + *(p + 3) +
                      *(p + row - 3) + *(p + row) + *(p + row + 3);
      const float smooth = std::nearbyint(static_cast<float>(sum) / 13.0F);
      out.rgb[static_cast<std::size_t>(y) * row + x] =
          cut(smooth + static_cast<float>(factor) * (static_cast<float>(*p) - smooth));
    }
  }
  return out;
}

}  // namespace

std::span<const Operation> operations() {
  return kOperations;
}

std::string_view name(Operation operation) {
  return kNames[static_cast<std::size_t>(operation)];
}

double argument(Operation operation, double level, bool negative) {
  const double share = level / kMaxLevel;
  const double sign = negative ? -1.0 : 1.0;
  switch (operation) {
    case Operation::brightness:
    case Operation::sharpness:
      return share * 1.8 + 0.1;
    case Operation::shear_x:
    case Operation::shear_y:
      return sign * share * 0.3;
    case Operation::translate_x:
    case Operation::translate_y:
      return sign * share * 10.0;
    case Operation::rotate:
      return sign * share * 30.0;
    default:
      return 0.0;
  }
}

Image apply(Operation operation, const Image& image, double argument) {
  const auto number = static_cast<double>(static_cast<float>(argument));  // as the reference has it
  switch (operation) {
    case Operation::identity:
      return image;
    case Operation::auto_contrast:
      return per_channel(image, contrast_table);
    case Operation::brightness:
      return brighten(image, argument);
    case Operation::sharpness:
      return sharpen(image, argument);
    case Operation::equalize:
      return per_channel(image, equalize_table);
    case Operation::shear_x:
      return warp(image, {1, number, 0, 0, 1, 0}, Border::gray);
    case Operation::shear_y:
      return warp(image, {1, 0, 0, number, 1, 0}, Border::gray);
    case Operation::translate_x:
      return warp(image, {1, 0, -number, 0, 1, 0}, Border::gray);
    case Operation::translate_y:
      return warp(image, {1, 0, 0, 0, 1, -number}, Border::gray);
    case Operation::rotate:
      return warp(image, rotation(argument, image.width / 2.0, image.height / 2.0), Border::gray);
  }
  return image;
}

Image rand_augment(Image image, int count, double level, Random& random) {
  std::vector<Operation> drawn;
  for (int i = 0; i < count; ++i) {
    drawn.push_back(
        kOperations[static_cast<std::size_t>(random.uniform() * std::size(kOperations))]);
  }
  for (const Operation operation : drawn) {
    if (random.uniform() > 0.5) continue;
    const bool negative = random.uniform() > 0.5;
    image = apply(operation, image, argument(operation, level, negative));
  }
  return image;
}

}  // namespace blip::train
