#include "blip/image/decode.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "blip/base/random.h"
#include "blip/image/sample_pictures_test.h"

namespace blip {
namespace {

TEST(DecodeJpeg, EqualsPillow) {
  const Image image = decode(kJpeg);
  EXPECT_EQ(image.width, 3);
  EXPECT_EQ(image.height, 2);
  EXPECT_EQ(image.rgb, kJpegValues);
  EXPECT_EQ(decode(kInkJpeg).rgb, kInkJpegValues);
}

TEST(DecodeJpeg, OrientationIsAppliedOnRequest) {
  const std::string exif = bytes({'E', 'x', 'i',  'f', 0, 0, 'I', 'I', 42, 0, 8, 0, 0, 0,
                                  1,   0,   0x12, 1,   3, 0, 1,   0,   0,  0, 3, 0, 0, 0});
  const std::string app1 = "\xFF\xE1" + big(static_cast<std::uint32_t>(exif.size() + 2), 2) + exif;
  const std::string file = kJpeg.substr(0, 2) + app1 + kJpeg.substr(2);
  EXPECT_EQ(decode(file).rgb, kJpegValues);
  Values turned;
  for (std::size_t i = kJpegValues.size(); i > 0; i -= 3) {
    turned.insert(turned.end(), kJpegValues.begin() + static_cast<std::ptrdiff_t>(i) - 3,
                  kJpegValues.begin() + static_cast<std::ptrdiff_t>(i));
  }
  EXPECT_EQ(decode(file, kTurn).rgb, turned);
  EXPECT_EQ(decode(kJpeg, kTurn).rgb, kJpegValues);
}

TEST(DecodeJpeg, HugeHeaders) {
  std::string file = kJpeg;
  const std::size_t frame = file.find("\xFF\xC0");
  file.replace(frame + 5, 4, std::string("\xFF\0\xFF\0", 4));
  EXPECT_EQ(error_of(file), ErrorCode::too_large);
  file.replace(frame + 7, 2, std::string(2, '\0'));
  EXPECT_EQ(error_of(file), ErrorCode::bad_image);
}

TEST(DecodeWebp, EqualsPillow) {
  EXPECT_EQ(decode(kWebp).rgb, kWebpOnWhite);
  EXPECT_EQ(decode(kWebp, kDrop).rgb, kWebpDropped);
  EXPECT_EQ(decode(kLossyWebp).rgb, kLossyWebpValues);
}

TEST(DecodeWebp, TheFirstFrameLiesOnABlackCanvas) {
  const Image image = decode(kWebpFilm);
  ASSERT_EQ(image.width, 4);
  ASSERT_EQ(image.height, 3);
  Values expected(36);
  expected[30] = 200;
  expected[31] = 100;
  expected[32] = 50;
  EXPECT_EQ(image.rgb, expected);
}

TEST(DecodeGif, PaletteTransparencyAndInterlacing) {
  EXPECT_EQ(decode(kGif, kDrop).rgb, (Values{10, 20, 30, 40, 50, 60, 70, 80, 90,  //
                                             100, 110, 120, 70, 80, 90, 40, 50, 60}));
  EXPECT_EQ(decode(kGif).rgb, (Values{10, 20, 30, 40, 50, 60, 255, 255, 255,  //
                                      100, 110, 120, 255, 255, 255, 40, 50, 60}));
  const Image interlaced = decode(kInterlacedGif);
  EXPECT_EQ(interlaced.height, 5);
  EXPECT_EQ(Values(interlaced.rgb.begin() + 9, interlaced.rgb.begin() + 21),
            (Values{10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120}));
}

TEST(DecodeGif, AFrameMayReachBeyondTheScreenOrLeaveItFree) {
  std::string file = kGif;
  const std::size_t frame = file.find(bytes({0x2C, 0, 0}));
  file[frame + 1] = 1;  // one column to the right: the screen grows
  const Image grown = decode(file, kDrop);
  ASSERT_EQ(grown.width, 4);
  EXPECT_EQ(Values(grown.rgb.begin(), grown.rgb.begin() + 6), (Values{70, 80, 90, 10, 20, 30}));
  EXPECT_EQ(decode(file).rgb[0], 255);
}

std::vector<std::string> samples() {
  return {kJpeg,
          kInkJpeg,
          kWebp,
          kLossyWebp,
          kWebpFilm,
          kGif,
          kInterlacedGif,
          kLzwTiff,
          png({2, 2, 8, 6, 1}, std::string(22, '\0')),
          tiff({2, 1, 3, 1, 1}, bytes({64}), {{320, {1, 2, 3, 4, 5, 6}}}),
          bmp(2, 2, 24, std::string(16, 'x')),
          "P6 2 2 255\n" + std::string(12, 'x'),
          "P2 2 2 255\n1 2 3 4 "};
}

TEST(DecodeImage, FilesCutShortAreDamaged) {
  // Only what stands behind the last pixel may be missing.
  for (const std::string& file : {kJpeg, kInkJpeg, kWebp, kLossyWebp, kWebpFilm}) {
    for (std::size_t size = 4; size < file.size(); ++size) {
      ASSERT_EQ(error_of(file.substr(0, size)), ErrorCode::bad_image)
          << size << " of " << file.size();
    }
  }
  for (const std::string& file : samples()) {
    for (std::size_t size = 4; size < file.size() * 3 / 4; ++size) {
      ASSERT_EQ(error_of(file.substr(0, size)), ErrorCode::bad_image)
          << size << " of " << file.size();
    }
  }
}

TEST(DecodeImage, DamageOnlyEverThrowsErrors) {
  Random random(1);
  ImageOptions options;
  options.max_pixels = 100'000;
  for (const std::string& sample : samples()) {
    for (int round = 0; round < 300; ++round) {
      std::string file = sample;
      for (std::uint64_t i = 0; i <= round % 4u; ++i) {
        file[random.next() % file.size()] = static_cast<char>(random.next());
      }
      options.exif_orientation = round % 2 == 0;
      options.alpha = round % 3 == 0 ? AlphaMode::drop : AlphaMode::white;
      try {
        const Image image = decode(file, options);
        EXPECT_EQ(image.rgb.size(), static_cast<std::size_t>(image.width * image.height) * 3);
      } catch (const Error& error) {
        EXPECT_NE(error.code(), ErrorCode::internal) << error.what();
      }
    }
  }
}

TEST(DecodeImage, OtherFormatsAreNamed) {
  const std::pair<std::string, const char*> unsupported[] = {
      {bytes({0, 0, 0, 24}) + "ftypheic", "HEIC"},
      {bytes({0, 0, 0, 28}) + "ftypavif", "AVIF"},
      {"<?xml version=\"1.0\"?>\n<SVG>", "SVG"},
      {"%PDF-1.4", "PDF"},
      {"\xFF\x0A", "JPEG XL"},
  };
  const std::pair<std::string, const char*> unknown[] = {
      {"", "empty"},
      {"<!DOCTYPE html><html>", "HTML"},
      {"{\"error\": 404}", "text"},
      {bytes({1, 2, 3}), "\\x01\\x02\\x03"},
      {"P7\nWIDTH 2", "text"},
      {"RIFF", "text"},
  };
  const auto expect = [](const std::string& file, ErrorCode code, const char* word) {
    try {
      decode(file);
      ADD_FAILURE() << word;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  };
  for (const auto& [file, word] : unsupported) expect(file, ErrorCode::unsupported, word);
  for (const auto& [file, word] : unknown) expect(file, ErrorCode::bad_image, word);
}

TEST(LoadImage, MessagesNameTheFile) {
  const std::filesystem::path folder = testing::TempDir();
  const auto message_of =
      [](const std::filesystem::path& file) -> std::pair<ErrorCode, std::string> {
    try {
      load_image(file);
    } catch (const Error& error) {
      return {error.code(), error.what()};
    }
    return {ErrorCode::internal, ""};
  };
  const std::filesystem::path file = folder / "blip_decode_test.jpg";
  std::ofstream(file, std::ios::binary) << kJpeg;
  EXPECT_EQ(load_image(file).rgb, kJpegValues);
  std::ofstream(file, std::ios::binary) << "no picture";
  const auto [code, message] = message_of(file);
  EXPECT_EQ(code, ErrorCode::bad_image);
  EXPECT_EQ(message.find(file.string() + ": "), 0u) << message;
  std::filesystem::remove(file);
  EXPECT_EQ(message_of(file).first, ErrorCode::not_found);
  EXPECT_EQ(message_of(folder).first, ErrorCode::io);
}

}  // namespace
}  // namespace blip
