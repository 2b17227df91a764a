#include "blip/image/encode.h"

#include <gtest/gtest.h>

#include "blip/base/error.h"
#include "blip/base/random.h"
#include "blip/image/decode.h"

namespace blip {
namespace {

Image noise(int width, int height) {
  Image image{width, height, {}};
  Random random(1);
  for (int i = 0; i < 3 * width * height; ++i)
    image.rgb.push_back(static_cast<std::uint8_t>(random.next()));
  return image;
}

TEST(EncodePng, DecodesToTheSamePixels) {
  for (const auto& [width, height] : {std::pair(1, 1), {3, 70}, {257, 2}, {64, 64}}) {
    const Image image = noise(width, height);
    const std::string png = encode_png(image);
    const Image decoded = decode_image(std::as_bytes(std::span(png)));
    EXPECT_EQ(decoded.width, width);
    EXPECT_EQ(decoded.height, height);
    EXPECT_EQ(decoded.rgb, image.rgb);
  }
}

TEST(EncodePng, RefusesWhatIsNoPicture) {
  EXPECT_THROW(encode_png({0, 0, {}}), Error);
  EXPECT_THROW(encode_png({-1, -1, {1, 2, 3}}), Error);
  EXPECT_THROW(encode_png({2, 2, {1, 2, 3}}), Error);
}

TEST(SavePng, WritesAFileThatLoads) {
  const std::filesystem::path file =
      std::filesystem::path(testing::TempDir()) / "blip_encode_test.png";
  const Image image = noise(5, 4);
  save_png(image, file);
  EXPECT_EQ(load_image(file).rgb, image.rgb);
  std::filesystem::remove(file);
  EXPECT_THROW(save_png(image, "/no/such/folder/x.png"), Error);
}

}  // namespace
}  // namespace blip
