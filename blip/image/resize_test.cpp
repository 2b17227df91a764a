#include "blip/image/resize.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/random.h"

namespace blip {
namespace {

Image noise(int width, int height, std::uint64_t seed) {
  Random random(seed);
  Image image{width, height, {}};
  image.rgb.resize(static_cast<std::size_t>(width * height) * 3);
  // Mostly extremes, so that the filter overshoots and clips.
  for (auto& value : image.rgb) {
    const std::uint64_t bits = random.next();
    value = static_cast<std::uint8_t>(bits % 4 == 0 ? bits >> 8 : bits % 4 == 1 ? 0 : 255);
  }
  return image;
}

/// The definition, written down plainly: one row or column of one channel.
std::vector<int> filtered(const std::vector<int>& in, int out_size) {
  const int in_size = static_cast<int>(in.size());
  if (in_size == out_size) return in;
  const double scale = static_cast<double>(in_size) / out_size;
  const double stretch = std::max(1.0, scale);
  std::vector<int> out;
  for (int i = 0; i < out_size; ++i) {
    const double center = (i + 0.5) * scale;
    const int begin = std::max(0, static_cast<int>(center - 2 * stretch + 0.5));
    const int end = std::min(in_size, static_cast<int>(center + 2 * stretch + 0.5));
    std::vector<double> weights;
    double total = 0;
    for (int j = begin; j < end; ++j) {
      const double x = std::abs((j - center + 0.5) * (1.0 / stretch));
      double w = 0;
      if (x < 1) {
        w = (1.5 * x - 2.5) * x * x + 1;
      } else if (x < 2) {
        w = (((x - 5) * x + 8) * x - 4) * -0.5;
      }
      weights.push_back(w);
      total += w;
    }
    std::int64_t sum = 1 << 21;
    for (int j = begin; j < end; ++j) {
      const double w = weights[static_cast<std::size_t>(j - begin)] / total * (1 << 22);
      sum += static_cast<std::int64_t>(std::round(w)) * in[static_cast<std::size_t>(j)];
    }
    out.push_back(static_cast<int>(std::clamp<std::int64_t>(sum >> 22, 0, 255)));
  }
  return out;
}

Image along_x(const Image& image, int width) {
  Image result{width, image.height, {}};
  result.rgb.resize(static_cast<std::size_t>(width * image.height) * 3);
  for (int y = 0; y < image.height; ++y) {
    for (int c = 0; c < 3; ++c) {
      std::vector<int> line;
      for (int x = 0; x < image.width; ++x) {
        line.push_back(image.rgb[static_cast<std::size_t>((y * image.width + x) * 3 + c)]);
      }
      line = filtered(line, width);
      for (int x = 0; x < width; ++x) {
        result.rgb[static_cast<std::size_t>((y * width + x) * 3 + c)] =
            static_cast<std::uint8_t>(line[static_cast<std::size_t>(x)]);
      }
    }
  }
  return result;
}

Image transposed(const Image& image) {
  Image result{image.height, image.width, std::vector<std::uint8_t>(image.rgb.size())};
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      for (int c = 0; c < 3; ++c) {
        result.rgb[static_cast<std::size_t>((x * image.height + y) * 3 + c)] =
            image.rgb[static_cast<std::size_t>((y * image.width + x) * 3 + c)];
      }
    }
  }
  return result;
}

Image along_y(const Image& image, int height) {
  return transposed(along_x(transposed(image), height));
}

TEST(Resize, EqualsTheDefinitionInEveryByte) {
  const int sizes[] = {1, 2, 3, 7, 16, 31, 50};
  std::uint64_t seed = 0;
  for (const int in_width : sizes) {
    for (const int in_height : sizes) {
      const Image image = noise(in_width, in_height, ++seed);
      for (const int width : {1, 5, 16, 33}) {
        for (const int height : {1, 4, 31}) {
          const Image expected = along_y(along_x(image, width), height);
          const Image result = resize_bicubic(image, width, height);
          ASSERT_EQ(result.width, width);
          ASSERT_EQ(result.height, height);
          ASSERT_EQ(result.rgb, expected.rgb)
              << in_width << "x" << in_height << " to " << width << "x" << height;
        }
      }
    }
  }
}

TEST(Resize, LongWindowsDoNotOverflow) {
  for (const auto& [width, height] : {std::pair{5000, 2}, std::pair{2, 5000}}) {
    const Image image = noise(width, height, 1);
    EXPECT_EQ(resize_bicubic(image, 3, 3).rgb, along_y(along_x(image, 3), 3).rgb);
    Image white{width, height, std::vector<std::uint8_t>(image.rgb.size(), 255)};
    EXPECT_EQ(resize_bicubic(white, 1, 1).rgb, std::vector<std::uint8_t>(3, 255));
  }
}

TEST(Resize, LargePicturesUseThreadsToTheSameEffect) {
  const Image image = noise(700, 900, 2);
  EXPECT_EQ(resize_bicubic(image, 384, 384).rgb, along_y(along_x(image, 384), 384).rgb);
}

TEST(Resize, TallPicturesNeedLittleMemory) {
  const auto peak_kilobytes = [] {
    rusage usage = {};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const Image image = noise(1, 40'000, 9);
  const auto before = peak_kilobytes();
  resize_bicubic(image, 800, 2);  // filtered along x it would have 96 MB
  EXPECT_LT(peak_kilobytes() - before, 60'000);
}

TEST(Resize, TallPicturesGoByBlocksToTheSameEffect) {
  const Image image = noise(2, 9001, 8);
  for (const auto& [width, height] : {std::pair{650, 33}, {650, 9000}}) {
    const Image between = resize_bicubic(image, width, image.height);
    EXPECT_EQ(resize_bicubic(image, width, height).rgb, resize_bicubic(between, width, height).rgb)
        << width << "x" << height;
  }
}

TEST(Resize, GivesPillowsValues) {
  const Image image{2, 2, {0, 255, 0, 255, 0, 127, 64, 191, 32, 10, 245, 5}};
  const std::vector<std::uint8_t> expected = {
      0,   255, 0,  53,  202, 26, 214, 41,  107, 255, 0,   147, 35, 221, 17, 53, 202, 26,
      112, 144, 56, 130, 125, 71, 74,  181, 36,  53,  202, 26,  9,  246, 5,  0,  255, 0};
  EXPECT_EQ(resize_bicubic(image, 4, 3).rgb, expected);
}

TEST(Resize, SameSizeIsTheSamePicture) {
  const Image image = noise(9, 4, 3);
  EXPECT_EQ(resize_bicubic(image, 9, 4).rgb, image.rgb);
}

TEST(Resize, PillowThirteenShrinksTallPicturesVerticallyFirst) {
  const Image tall = noise(20, 60, 4);  // 60 - 10 > 2 * (20 - 10)
  const Image vertical_first = along_x(along_y(tall, 10), 10);
  const Image horizontal_first = along_y(along_x(tall, 10), 10);
  ASSERT_NE(vertical_first.rgb, horizontal_first.rgb);
  EXPECT_EQ(resize_bicubic(tall, 10, 10, PassOrder::pillow_13).rgb, vertical_first.rgb);
  EXPECT_EQ(resize_bicubic(tall, 10, 10).rgb, horizontal_first.rgb);

  const Image limit = noise(20, 30, 5);  // 30 - 10 == 2 * (20 - 10): not more
  EXPECT_EQ(resize_bicubic(limit, 10, 10, PassOrder::pillow_13).rgb,
            along_y(along_x(limit, 10), 10).rgb);
  const Image growing = noise(4, 5, 6);
  EXPECT_EQ(resize_bicubic(growing, 30, 6, PassOrder::pillow_13).rgb,
            along_y(along_x(growing, 30), 6).rgb);
}

TEST(Resize, RefusesSizesThatMakeNoSense) {
  const auto code = [](const Image& image, int width, int height) {
    try {
      resize_bicubic(image, width, height);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::internal;
  };
  const Image image = noise(4, 4, 7);
  EXPECT_EQ(code(image, 0, 4), ErrorCode::usage);
  EXPECT_EQ(code(image, 4, -1), ErrorCode::usage);
  EXPECT_EQ(code(Image{}, 4, 4), ErrorCode::usage);
  EXPECT_EQ(code(Image{4, 4, std::vector<std::uint8_t>(47)}, 2, 2), ErrorCode::usage);
  EXPECT_EQ(code(Image{4, 4, std::vector<std::uint8_t>(60)}, 2, 2), ErrorCode::usage);
}

}  // namespace
}  // namespace blip
