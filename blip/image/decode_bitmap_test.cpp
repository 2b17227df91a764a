#include <gtest/gtest.h>

#include "blip/image/sample_pictures_test.h"

namespace blip {
namespace {

TEST(DecodeBmp, Variants) {
  const std::string rows =
      bytes({3, 2, 1, 6, 5, 4, 0, 0, 9, 8, 7, 12, 11, 10});  // last row unpadded
  EXPECT_EQ(decode(bmp(2, 2, 24, rows)).rgb, (Values{7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(decode(bmp(2, -2, 24, rows)).rgb, (Values{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  EXPECT_EQ(decode(bmp(1, 1, 32, bytes({3, 2, 1, 0}))).rgb, (Values{1, 2, 3}));
  EXPECT_EQ(decode(bmp(1, 1, 16, bytes({0b00100011, 0b01111100}))).rgb, (Values{255, 8, 24}));
  const std::string palette = bytes({3, 2, 1, 0, 6, 5, 4, 0});
  EXPECT_EQ(decode(bmp(3, 1, 1, palette + bytes({0b01000000}), 8)).rgb,
            (Values{1, 2, 3, 4, 5, 6, 1, 2, 3}));
}

TEST(DecodeBmp, BitFieldsMayHoldAlpha) {
  std::string file = bmp(1, 1, 32, std::string(16 + 52, '\0') + bytes({30, 20, 10, 128}), 16 + 52);
  file[14] = 108;
  file[30] = 3;
  const std::string masks = little(0xFF0000, 4) + little(0xFF00, 4) + little(0xFF, 4);
  file.replace(54, 16, masks + little(0xFF000000, 4));
  EXPECT_EQ(decode(file).rgb, (Values{132, 137, 142}));
  EXPECT_EQ(decode(file, kDrop).rgb, (Values{10, 20, 30}));
  file.replace(54, 16, masks + little(0, 4));
  EXPECT_EQ(decode(file).rgb, (Values{10, 20, 30}));
  file.replace(54, 4, little(0xF0000, 4));
  EXPECT_EQ(error_of(file), ErrorCode::unsupported);
}

TEST(DecodeBmp, HostileHeaders) {
  EXPECT_EQ(error_of(bmp(0, 1, 24, "")), ErrorCode::bad_image);
  EXPECT_EQ(error_of(bmp(-1, 1, 24, "")), ErrorCode::too_large);
  EXPECT_EQ(error_of(bmp(1, 0x7FFFFFFF, 24, "")), ErrorCode::too_large);
  EXPECT_EQ(error_of(bmp(1000, 1000, 24, "abc")), ErrorCode::bad_image);
  EXPECT_EQ(error_of(bmp(1, 1, 2, "abcd")), ErrorCode::unsupported);
  EXPECT_EQ(error_of(bmp(1, 1, 0, "abcd")), ErrorCode::unsupported);
  std::string file = bmp(1, 1, 24, "abcd");
  file[30] = 1;
  EXPECT_EQ(error_of(file), ErrorCode::unsupported);
  file[30] = 0;
  file.replace(10, 4, "\xFF\xFF\xFF\xFF");
  EXPECT_EQ(error_of(file), ErrorCode::bad_image);
  file = bmp(1, 1, 8, std::string(8, 'a'), 4);
  file.replace(46, 4, "\xFF\xFF\xFF\xFF");
  EXPECT_EQ(error_of(file), ErrorCode::bad_image);
}

TEST(DecodePnm, Variants) {
  EXPECT_EQ(decode("P1\n3 2\n101\n0 1 0").rgb, grey({0, 255, 0, 255, 0, 255}));
  EXPECT_EQ(decode("P4 3 1\n\x40").rgb, grey({255, 0, 255}));
  EXPECT_EQ(decode("P2 #size\n2 1 #top\n3 1 2").rgb, grey({85, 170}));
  EXPECT_EQ(decode("P5 2 1 255\nab").rgb, grey({'a', 'b'}));
  EXPECT_EQ(decode("P3 1 1 9 9 0 3").rgb, (Values{255, 0, 85}));
  EXPECT_EQ(decode("P6 1 1 255\nabc").rgb, (Values{'a', 'b', 'c'}));
  EXPECT_EQ(decode("P6 1 1 65535\n" + bytes({255, 255, 128, 0, 0, 0})).rgb, (Values{255, 128, 0}));
  EXPECT_EQ(decode("P5 2 1 65535\n" + bytes({0, 7, 1, 0})).rgb, grey({7, 255}));
}

TEST(DecodePnm, Damage) {
  for (const char* file :
       {"P5 2 2 255 abc", "P5 2", "P5 ", "P5 0 2 255 ", "P5 2 2 0 abcd", "P5 2 2 70000 abcdefgh",
        "P5 -2 2 255 abcd", "P5 2 2x 255 abcd", "P5 1234567890123 1 255 a", "P5 2 2 255",
        "P2 2 2 255 1 2 3", "P2 2 1 9 1 10", "P2 2 1 9 1 x", "P1 2 2 1021", "P1 2 2 101",
        "P3 99999 1 255 1 2 3", "P1 3 1 1#"}) {
    EXPECT_EQ(error_of(file), ErrorCode::bad_image) << file;
  }
  EXPECT_EQ(error_of("P5 99999999 99999999 255 a"), ErrorCode::too_large);
}

}  // namespace
}  // namespace blip
