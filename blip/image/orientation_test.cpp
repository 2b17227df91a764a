#include "blip/image/orientation.h"

#include <gtest/gtest.h>

#include <string>

namespace blip {
namespace {

int orientation_of(const std::string& exif) {
  return exif_orientation(Bytes(reinterpret_cast<const std::uint8_t*>(exif.data()), exif.size()));
}

std::string bytes(std::initializer_list<int> values) {
  std::string result;
  for (const int value : values) result += static_cast<char>(value);
  return result;
}

std::string little(int value, int tag = 0x12, int type = 3, int count = 1) {
  return bytes({'I',  'I',  42,   0, 8,     0, 0, 0, 2,     0,            // header, two entries
                0x0F, 0x01, 2,    0, 4,     0, 0, 0, 'a',   'b', 'c', 0,  // another tag before it
                tag,  0x01, type, 0, count, 0, 0, 0, value, 0,   0,   0});
}

std::string big(int value) {
  return bytes({'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0});
}

TEST(ExifOrientation, IsReadInBothByteOrdersWithAndWithoutPrefix) {
  const std::string prefix = bytes({'E', 'x', 'i', 'f', 0, 0});
  for (int value = 1; value <= 8; ++value) {
    EXPECT_EQ(orientation_of(little(value)), value);
    EXPECT_EQ(orientation_of(big(value)), value);
    EXPECT_EQ(orientation_of(prefix + little(value)), value);
    EXPECT_EQ(orientation_of(prefix + big(value)), value);
  }
}

TEST(ExifOrientation, DamagedBlocksNameNone) {
  EXPECT_EQ(orientation_of(""), 1);
  EXPECT_EQ(orientation_of("Exif"), 1);
  EXPECT_EQ(orientation_of(little(0)), 1);
  EXPECT_EQ(orientation_of(little(9)), 1);
  EXPECT_EQ(orientation_of(little(6, 0x13)), 1);
  EXPECT_EQ(orientation_of(little(6, 0x12, 2)), 1);
  EXPECT_EQ(orientation_of(little(6, 0x12, 3, 2)), 1);
  std::string mixed = little(6);
  mixed[1] = 'M';
  EXPECT_EQ(orientation_of(mixed), 1);
  for (const int offset : {0xFF, 0x20, 0x21, 0x22}) {
    std::string lost = little(6);
    lost[4] = static_cast<char>(offset);
    lost[7] = static_cast<char>(offset == 0xFF ? 0xFF : 0);
    EXPECT_EQ(orientation_of(lost), 1);
  }
  const std::string whole = little(6);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(orientation_of(whole.substr(0, size)), 1) << size;
  }
}

/// A picture whose pixel k has the value k in all channels.
Image numbered(int width, int height, const std::string& order) {
  Image image{width, height, {}};
  for (const char digit : order)
    image.rgb.insert(image.rgb.end(), 3, static_cast<std::uint8_t>(digit - '0'));
  return image;
}

TEST(Turned, AllEightOrientations) {
  // Stored as  0 1 2
  //            3 4 5
  const struct {
    int orientation, width, height;
    const char* order;
  } cases[] = {
      {1, 3, 2, "012345"}, {2, 3, 2, "210543"}, {3, 3, 2, "543210"}, {4, 3, 2, "345012"},
      {5, 2, 3, "031425"}, {6, 2, 3, "304152"}, {7, 2, 3, "524130"}, {8, 2, 3, "251403"},
  };
  for (const auto& expected : cases) {
    const Image result = turned(numbered(3, 2, "012345"), expected.orientation);
    EXPECT_EQ(result.width, expected.width) << expected.orientation;
    EXPECT_EQ(result.height, expected.height) << expected.orientation;
    EXPECT_EQ(result.rgb, numbered(expected.width, expected.height, expected.order).rgb)
        << expected.orientation;
  }
}

TEST(Turned, UnknownOrientationsChangeNothing) {
  for (const int orientation : {-1, 0, 9, 1000}) {
    EXPECT_EQ(turned(numbered(3, 2, "012345"), orientation).rgb, numbered(3, 2, "012345").rgb);
  }
}

}  // namespace
}  // namespace blip
