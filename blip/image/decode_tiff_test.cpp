#include <gtest/gtest.h>

#include "blip/image/sample_pictures_test.h"

namespace blip {
namespace {

TEST(DecodeTiff, GreyOfEveryDepth) {
  EXPECT_EQ(decode(tiff({4, 1, 1, 1, 1}, bytes({0b01100000}))).rgb, grey({0, 255, 255, 0}));
  EXPECT_EQ(decode(tiff({4, 1, 0, 1, 1}, bytes({0b01100000}))).rgb, grey({255, 0, 0, 255}));
  EXPECT_EQ(decode(tiff({2, 1, 1, 1, 4}, bytes({0x3F}))).rgb, grey({51, 255}));
  EXPECT_EQ(decode(tiff({2, 1, 1, 1, 8}, bytes({3, 200}))).rgb, grey({3, 200}));
  EXPECT_EQ(decode(tiff({2, 1, 0, 1, 8}, bytes({3, 200}))).rgb, grey({252, 55}));
  EXPECT_EQ(decode(tiff({3, 1, 1, 1, 16}, bytes({7, 0, 255, 0, 0, 1}))).rgb, grey({7, 255, 255}));
  EXPECT_EQ(decode(tiff({2, 1, 1, 1, 32}, little(0xFFFFFFFF, 4) + little(0x43000000, 4),
                        {{339, {3}}}))  // NaN and 128.0
                .rgb,
            grey({0, 128}));
}

TEST(DecodeTiff, ColourAlphaAndInks) {
  const std::string pixel = bytes({100, 50, 25, 128});
  EXPECT_EQ(decode(tiff({1, 1, 2, 3, 8}, bytes({1, 2, 3}))).rgb, (Values{1, 2, 3}));
  EXPECT_EQ(decode(tiff({1, 1, 2, 3, 16}, bytes({9, 1, 9, 2, 9, 3}))).rgb, (Values{1, 2, 3}));
  EXPECT_EQ(decode(tiff({1, 1, 2, 4, 8}, pixel, {{338, {2}}})).rgb, (Values{177, 152, 140}));
  EXPECT_EQ(decode(tiff({1, 1, 2, 4, 8}, pixel)).rgb, (Values{177, 152, 140}));
  EXPECT_EQ(decode(tiff({1, 1, 2, 4, 8}, pixel, {{338, {2}}}), kDrop).rgb, (Values{100, 50, 25}));
  EXPECT_EQ(decode(tiff({1, 1, 2, 4, 8}, pixel, {{338, {0}}})).rgb, (Values{100, 50, 25}));
  // Premultiplied: 100 * 255 / 128 and so on.
  EXPECT_EQ(decode(tiff({1, 1, 2, 4, 8}, pixel, {{338, {1}}}), kDrop).rgb, (Values{199, 99, 49}));
  EXPECT_EQ(decode(tiff({1, 1, 5, 4, 8}, bytes({255, 0, 100, 55}))).rgb, (Values{0, 200, 122}));
  EXPECT_EQ(decode(tiff({1, 1, 6, 3, 8}, bytes({100, 90, 200}), {{530, {1, 1}}})).rgb,
            (Values{200, 61, 32}));
}

TEST(DecodeTiff, PalettesPlanesTilesAndCompression) {
  const std::vector<int> colors = {0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000};
  EXPECT_EQ(decode(tiff({2, 1, 3, 1, 1}, bytes({0b01000000}), {{320, colors}})).rgb,
            (Values{0x10, 0x30, 0x50, 0x20, 0x40, 0x60}));
  EXPECT_EQ(decode(tiff({2, 1, 2, 3, 8}, bytes({1, 4, 2, 5, 3, 6}),
                        {{273, {0, 2, 4}}, {279, {2, 2, 2}}, {284, {2}}}))
                .rgb,
            (Values{1, 2, 3, 4, 5, 6}));
  std::string tile(256, '\0');
  tile[0] = 10;
  tile[1] = 20;
  tile[16] = 30;
  tile[17] = 40;
  EXPECT_EQ(decode(tiff({{256, {2}},
                         {257, {2}},
                         {258, {8}},
                         {259, {1}},
                         {262, {1}},
                         {277, {1}},
                         {322, {16}},
                         {323, {16}},
                         {324, {0}},
                         {325, {256}}},
                        tile))
                .rgb,
            grey({10, 20, 30, 40}));
  EXPECT_EQ(decode(kLzwTiff).rgb, kWebpDropped);
}

TEST(DecodeTiff, OrientationIsAlwaysApplied) {
  const Image image = decode(tiff({2, 1, 1, 1, 8}, bytes({3, 200}), {{274, {8}}}));
  EXPECT_EQ(image.width, 1);
  EXPECT_EQ(image.rgb, grey({200, 3}));
}

TEST(DecodeTiff, HostileHeaders) {
  EXPECT_EQ(error_of(tiff({0, 1, 1, 1, 8}, bytes({3}))), ErrorCode::bad_image);
  EXPECT_EQ(error_of(tiff({60000, 60000, 1, 1, 8}, bytes({3}))), ErrorCode::too_large);
  EXPECT_EQ(error_of(tiff({1000, 1000, 1, 1, 8}, bytes({3}))), ErrorCode::bad_image);
  EXPECT_EQ(error_of(tiff({1, 1, 8, 3, 8}, bytes({1, 2, 3}))), ErrorCode::unsupported);
  EXPECT_EQ(error_of(tiff({1, 1, 2, 3, 8}, bytes({1, 2, 3}), {{259, {6}}})),
            ErrorCode::unsupported);
  EXPECT_EQ(error_of(tiff({1, 1, 2, 9, 8}, bytes({1, 2, 3, 4, 5, 6, 7, 8, 9}))),
            ErrorCode::unsupported);
  EXPECT_EQ(error_of(tiff({{256, {2}},
                           {257, {2}},
                           {258, {8}},
                           {259, {1}},
                           {262, {1}},
                           {277, {1}},
                           {322, {65520}},
                           {323, {65520}},
                           {324, {0}},
                           {325, {4}}},
                          bytes({1, 2, 3, 4}))),
            ErrorCode::bad_image);
}

/// `width` x 1 white pixels in tiles of 16 x 16384, which share one PackBits block of 4 KiB.
std::string thin_tiff_in_large_tiles(int width) {
  std::string packed;
  for (int i = 0; i < 16 * 16384 / 128; ++i) packed += bytes({0x81, 0xFF});
  const auto tiles = static_cast<std::size_t>((width + 15) / 16);
  return tiff({{256, {width}},
               {257, {1}},
               {258, {8}},
               {259, {32773}},
               {262, {1}},
               {277, {1}},
               {322, {16}},
               {323, {16384}},
               {324, std::vector<int>(tiles, 0)},
               {325, std::vector<int>(tiles, static_cast<int>(packed.size()))}},
              packed);
}

TEST(DecodeTiff, TilesMayExceedThePictureButNotWithoutEnd) {
  EXPECT_EQ(decode(thin_tiff_in_large_tiles(100)).rgb, Values(300, 255));
  EXPECT_EQ(error_of(thin_tiff_in_large_tiles(60000)), ErrorCode::bad_image);
}

}  // namespace
}  // namespace blip
