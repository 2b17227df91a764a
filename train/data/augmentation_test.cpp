#include "train/data/augmentation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "blip/base/json.h"
#include "blip/image/decode.h"
#include "train/data/rand_augment.h"

namespace blip::train {
namespace {

const std::filesystem::path kData = BLIP_TEST_DATA "/augmentation";

Operation operation_named(const std::string& wanted) {
  for (const Operation operation : operations()) {
    if (name(operation) == wanted) return operation;
  }
  throw std::runtime_error("no operation " + wanted);
}

TEST(RandAugment, OperationsAreOpenCvs) {
  const Image input = load_image(kData / "input.png");
  const Image expected = load_image(kData / "expected.png");
  const Json cases = read_json(kData / "cases.json");
  ASSERT_EQ(expected.height, input.height * static_cast<int>(cases.size()));
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const auto operation = cases[i]["operation"].get<std::string>();
    const auto argument = cases[i]["argument"].get<double>();
    const Image out = apply(operation_named(operation), input, argument);
    ASSERT_EQ(out.rgb.size(), input.rgb.size());
    int worst = 0;
    for (std::size_t k = 0; k < out.rgb.size(); ++k) {
      worst = std::max(worst, std::abs(out.rgb[k] - expected.rgb[i * out.rgb.size() + k]));
    }
    EXPECT_EQ(worst, 0) << operation << " " << argument;
  }
}

TEST(RandAugment, LevelsAreTheAuthors) {
  EXPECT_DOUBLE_EQ(argument(Operation::brightness, 5, true), 1.0);
  EXPECT_DOUBLE_EQ(argument(Operation::sharpness, 10, false), 1.9);
  EXPECT_DOUBLE_EQ(argument(Operation::shear_x, 5, true), -0.15);
  EXPECT_DOUBLE_EQ(argument(Operation::translate_y, 5, false), 5);
  EXPECT_DOUBLE_EQ(argument(Operation::rotate, 5, true), -15);
}

TEST(RandAugment, DrawsEveryOperationAndAppliesHalf) {
  const Image input = load_image(kData / "input.png");
  Random random(1);
  int changed = 0;
  for (int i = 0; i < 400; ++i) {
    if (rand_augment(input, 1, 10, random).rgb != input.rgb) ++changed;
  }
  // 9 of 10 operations change this picture, half of the time.
  EXPECT_NEAR(changed, 180, 40);
}

TEST(Augmentation, SameSeedSamePicture) {
  const Image input = load_image(kData / "input.png");
  AugmentationOptions options;
  options.affine = options.blur = 0.5;
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Random first(seed), second(seed);
    const Image a = augment(input, 24, options, first);
    EXPECT_EQ(a.width, 24);
    EXPECT_EQ(a.height, 24);
    EXPECT_EQ(a.rgb, augment(input, 24, options, second).rgb);
    seen.emplace(a.rgb.begin(), a.rgb.end());
  }
  EXPECT_GT(seen.size(), 18U);
}

/// A picture whose red tells x and whose green tells y.
Image gradient(int width, int height) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (const int value : {x * 255 / (width - 1), y * 255 / (height - 1), 0}) {
        image.rgb.push_back(static_cast<std::uint8_t>(value));
      }
    }
  }
  return image;
}

TEST(Augmentation, CropsKeepTheirShareAndFlipsComeHalfOfTheTime) {
  AugmentationOptions options;
  options.operations = 0;
  Random random(3);
  int flipped = 0;
  double least = 1;
  for (int i = 0; i < 300; ++i) {
    const Image out = augment(gradient(200, 100), 50, options, random);
    const auto at = [&](int x, int y, int c) {
      return static_cast<double>(out.rgb[static_cast<std::size_t>((y * 50 + x) * 3 + c)]);
    };
    const double width = (at(49, 25, 0) - at(0, 25, 0)) / 255;
    const double height = (at(25, 49, 1) - at(25, 0, 1)) / 255;
    if (width < 0) ++flipped;
    EXPECT_GT(height, 0);
    least = std::min(least, std::abs(width) * height);
    // sides 4:3 at most, of a picture twice as wide as high
    EXPECT_LE(std::abs(width) * 2 / height, 4.0 / 3 + 0.1);
  }
  EXPECT_NEAR(flipped, 150, 40);
  EXPECT_NEAR(least, 0.5, 0.06);
}

TEST(Augmentation, OffIsASquash) {
  AugmentationOptions options;
  options.enabled = false;
  Random random(3);
  const Image out = augment(gradient(64, 64), 64, options, random);
  EXPECT_EQ(out.rgb, gradient(64, 64).rgb);
}

TEST(Augmentation, TinyAndThinPictures) {
  Random random(5);
  AugmentationOptions options;
  options.affine = options.blur = 1;
  for (const auto& [width, height] : {std::pair{1, 1}, {1, 300}, {300, 1}, {2, 3}}) {
    Image image{width, height, {}};
    image.rgb.resize(static_cast<std::size_t>(width * height) * 3, 77);
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(augment(image, 16, options, random).rgb.size(), 16U * 16 * 3);
    }
  }
}

}  // namespace
}  // namespace blip::train
