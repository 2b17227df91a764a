#include <gtest/gtest.h>

#include "blip/image/sample_pictures_test.h"

namespace blip {
namespace {

TEST(DecodePng, GreyOfEveryDepth) {
  EXPECT_EQ(decode(png({5, 1, 1, 0}, bytes({0, 0b01101000}))).rgb, grey({0, 255, 255, 0, 255}));
  EXPECT_EQ(decode(png({4, 1, 2, 0}, bytes({0, 0b00011011}))).rgb, grey({0, 85, 170, 255}));
  EXPECT_EQ(decode(png({3, 1, 4, 0}, bytes({0, 0x0A, 0xF0}))).rgb, grey({0, 170, 255}));
  EXPECT_EQ(decode(png({2, 2, 8, 0}, bytes({0, 1, 2, 0, 3, 4}))).rgb, grey({1, 2, 3, 4}));
  // PIL clips 16-bit grey.
  EXPECT_EQ(decode(png({4, 1, 16, 0}, bytes({0, 0, 7, 0, 255, 1, 0, 255, 255}))).rgb,
            grey({7, 255, 255, 255}));
}

TEST(DecodePng, DeepColourKeepsTheHighByte) {
  EXPECT_EQ(decode(png({1, 1, 16, 2}, bytes({0, 10, 255, 20, 255, 30, 255}))).rgb,
            (Values{10, 20, 30}));
  const std::string with_alpha = png({1, 1, 16, 6}, bytes({0, 10, 9, 20, 9, 30, 9, 255, 0}));
  EXPECT_EQ(decode(with_alpha).rgb, (Values{10, 20, 30}));
}

TEST(DecodePng, AlphaIsLaidOnWhiteOrDropped) {
  const std::string file = png({2, 1, 8, 6}, bytes({0, 10, 20, 30, 128, 1, 2, 3, 0}));
  EXPECT_EQ(decode(file).rgb, (Values{132, 137, 142, 255, 255, 255}));
  EXPECT_EQ(decode(file, kDrop).rgb, (Values{10, 20, 30, 1, 2, 3}));
  const std::string two = png({2, 1, 8, 4}, bytes({0, 100, 255, 100, 64}));
  EXPECT_EQ(decode(two).rgb, grey({100, 216}));
  EXPECT_EQ(decode(two, kDrop).rgb, grey({100, 100}));
}

TEST(DecodePng, PalettesAndTheirAlpha) {
  const std::string palette = chunk("PLTE", bytes({1, 2, 3, 40, 50, 60, 7, 8, 9}));
  const std::string rows = bytes({0, 0b00011000});
  EXPECT_EQ(decode(png({3, 1, 2, 3}, rows, palette)).rgb, (Values{1, 2, 3, 40, 50, 60, 7, 8, 9}));
  const std::string clear = palette + chunk("tRNS", bytes({255, 0}));
  EXPECT_EQ(decode(png({3, 1, 2, 3}, rows, clear)).rgb, (Values{1, 2, 3, 255, 255, 255, 7, 8, 9}));
  EXPECT_EQ(decode(png({3, 1, 2, 3}, rows, clear), kDrop).rgb,
            (Values{1, 2, 3, 40, 50, 60, 7, 8, 9}));
  EXPECT_EQ(error_of(png({3, 1, 2, 3}, rows)), ErrorCode::bad_image);
}

TEST(DecodePng, ColourKeysBecomeWhite) {
  const std::string rows = bytes({0, 1, 2, 3, 4, 5, 6});
  const std::string key = chunk("tRNS", bytes({0, 4, 0, 5, 0, 6}));
  EXPECT_EQ(decode(png({2, 1, 8, 2}, rows, key)).rgb, (Values{1, 2, 3, 255, 255, 255}));
  EXPECT_EQ(decode(png({2, 1, 8, 2}, rows, key), kDrop).rgb, (Values{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(decode(png({2, 1, 8, 0}, bytes({0, 9, 8}), chunk("tRNS", bytes({0, 8})))).rgb,
            grey({9, 255}));
  EXPECT_EQ(decode(png({2, 1, 1, 0}, bytes({0, 0b01000000}), chunk("tRNS", bytes({0, 0})))).rgb,
            grey({255, 255}));
}

TEST(DecodePng, Interlacing) {
  // 2 x 2: the first pass holds (0, 0), the sixth (1, 0), the seventh the second row.
  EXPECT_EQ(decode(png({2, 2, 8, 0, 1}, bytes({0, 10, 0, 20, 0, 30, 40}))).rgb,
            grey({10, 20, 30, 40}));
}

TEST(DecodePng, OrientationMayStandBehindThePixels) {
  const std::string exif = chunk(
      "eXIf", bytes({'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0}));
  const std::string rows = bytes({0, 1, 2});
  for (const std::string& file :
       {png({2, 1, 8, 0}, rows, exif), png({2, 1, 8, 0}, rows, "", exif)}) {
    EXPECT_EQ(decode(file).width, 2);
    EXPECT_EQ(decode(file, kTurn).width, 1);
    EXPECT_EQ(decode(file, kTurn).rgb, grey({1, 2}));
  }
}

TEST(DecodePng, HeadersAreTestedBeforeAnythingIsAllocated) {
  EXPECT_EQ(error_of(png({0, 1, 8, 0}, bytes({0}))), ErrorCode::bad_image);
  EXPECT_EQ(error_of(png({1, 1, 5, 0}, bytes({0, 0}))), ErrorCode::bad_image);
  EXPECT_EQ(error_of(png({100000, 100000, 8, 6}, bytes({0}))), ErrorCode::too_large);
  EXPECT_EQ(error_of(png({0x7FFFFFFF, 0x7FFFFFFF, 16, 6}, bytes({0}))), ErrorCode::too_large);
  EXPECT_EQ(error_of(png({0x100001, 1, 8, 0}, bytes({0}))), ErrorCode::too_large);
  const std::string file = png({3, 2, 8, 0}, bytes({0, 1, 2, 3, 0, 4, 5, 6}));
  ImageOptions options;
  options.max_pixels = 6;
  EXPECT_EQ(decode(file, options).width, 3);
  options.max_pixels = 5;
  EXPECT_EQ(error_of(file, options), ErrorCode::too_large);
}

}  // namespace
}  // namespace blip
