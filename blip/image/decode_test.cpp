#include "blip/image/decode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <initializer_list>
#include <string>
#include <utility>

#include "blip/base/error.h"
#include "blip/base/random.h"

namespace blip {
namespace {

using Values = std::vector<std::uint8_t>;

Image decode(const std::string& file, const ImageOptions& options = {}) {
  return decode_image(std::as_bytes(std::span(file)), options);
}

constexpr ImageOptions kDrop{AlphaMode::drop};
constexpr ImageOptions kTurn{AlphaMode::white, true};

ErrorCode error_of(const std::string& file, const ImageOptions& options = {}) {
  try {
    decode(file, options);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

std::string bytes(std::initializer_list<int> values) {
  std::string result;
  for (const int value : values) result += static_cast<char>(value);
  return result;
}

std::string from_hex(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    result += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  }
  return result;
}

std::string number(std::uint32_t value, int size, bool big_endian) {
  std::string result;
  for (int i = 0; i < size; ++i) {
    result += static_cast<char>(value >> (8 * (big_endian ? size - 1 - i : i)) & 0xFF);
  }
  return result;
}

std::string little(std::uint32_t value, int size) {
  return number(value, size, false);
}
std::string big(std::uint32_t value, int size = 4) {
  return number(value, size, true);
}

Values grey(std::initializer_list<int> values) {
  Values result;
  for (const int value : values) result.insert(result.end(), 3, static_cast<std::uint8_t>(value));
  return result;
}

// The stored pictures were written by Pillow, which also gave their values.

/// 3 x 2, three components.
const std::string kJpeg = from_hex(
    "ffd8ffe000104a46494600010100000100010000ffdb004300030202030202030303030403030405"
    "0805050404050a070706080c0a0c0c0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f"
    "171816141812141514ffdb00430103040405040509050509140d0b0d141414141414141414141414"
    "1414141414141414141414141414141414141414141414141414141414141414141414141414ffc0"
    "0011080002000303011100021101031101ffc40014000100000000000000000000000000000004ff"
    "c4001d100002030002030000000000000000000001020304050006112131ffc40015010101000000"
    "00000000000000000000000205ffc4001d1101000301000203000000000000000000010203110400"
    "21053161ffda000c03010002110311003f00057c1ccb1d5ba4d8973aa4b3d8ea3813cd2bc0a5a491"
    "f2aab3bb123c966625893ec9249fbca7c9f29dfc14c79f93a275d66e463294626bae0206aabfaef8"
    "2c846eb256d86ca4b257daca4eaafdaaaaafb575f3ffd9");
const Values kJpegValues = {245, 12, 15, 37,  196, 33,  55,  54,  254,
                            0,   2,  11, 245, 255, 241, 133, 121, 131};

/// 3 x 2, four inverted inks with an Adobe marker.
const std::string kInkJpeg = from_hex(
    "ffd8ffee000e41646f626500640000000000ffdb0043000302020302020303030304030304050805"
    "050404050a070706080c0a0c0c0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f1718"
    "16141812141514ffc000140800020003044311004d11005911004b1100ffc4001500010100000000"
    "000000000000000000000509ffc4001f100002030100030003000000000000000001020304050600"
    "1112071321ffda000e0443004d0059004b00003f00324e671f671393d4bf9346f69e973189a17aed"
    "9ac924d6ad4f995a59e795c825e492477777625999d9892493e190f318d6f95e1669f268cd349c77"
    "3acf2495919989c8a9ec9247f4f8a723d4ed727f8ef80cec3d7bf8d9e392c2b02a67d97822fdb366"
    "569667f84207d3c923bb1f5ed99d98fb249f2a9f9fffd9");
const Values kInkJpegValues = {251, 8, 17, 28,  207, 44,  49,  57,  236,
                               0,   6, 2,  255, 248, 255, 128, 127, 127};

/// 3 x 2, lossless with alpha.
const std::string kWebp = from_hex(
    "5249464652000000574542505650384c460000002f024000102f401660b27f5a21c5975a1a0a01a0"
    "618208219efc5dce462040d188fc36cb2b64d2365455df49dbbec90e40febf8993946bdc414ddb06"
    "6ca8f32f9646f43f9e15");
const Values kWebpDropped = {250, 10, 20, 30,  200, 40,  50,  60,  240,
                             0,   0,  0,  255, 255, 255, 128, 128, 128};
const Values kWebpOnWhite = {250, 10,  20,  255, 255, 255, 152, 157, 247,
                             191, 191, 191, 255, 255, 255, 255, 255, 255};

/// 3 x 2, lossy.
const std::string kLossyWebp = from_hex(
    "524946465800000057454250565038204c000000b001009d012a0300020001402625a80274010ef6"
    "a38000fe4f20b102fe633fff2af419933355e0f109104e268ca6ff1fc703efffc9bfff247f08e381"
    "f7ffe4dfd88977cda4ea13e346140000");
const Values kLossyWebpValues = {98, 78, 48, 138, 124, 124, 77,  74,  132,
                                 21, 1,  0,  255, 251, 251, 122, 120, 177};

/// A film on a canvas of 4 x 3 whose first frame is one pixel at (2, 2).
const std::string kWebpFilm = from_hex(
    "524946465600000057454250565038580a00000002000000030000020000414e494d060000001020"
    "30ff0000414e4d462a000000010000010000000000000000640000005650384c110000002f000000"
    "000750b22257a6ff8188e87f0000");

/// 3 x 2, indices 0 1 2 3 2 1, index 2 transparent.
const std::string kGif = from_hex(
    "474946383961030002008100000a141e28323c46505a646e7821f90401000002002c000000000300"
    "0200000809000104103040408080003b");

/// 3 x 5, interlaced, rows of the indices 012 012 321 321 321.
const std::string kInterlacedGif = from_hex(
    "474946383761030005008100000a141e28323c46505a646e782c000000000300050000080f000104"
    "102050c00001010e26441810003b");

const std::string kLzwTiff = from_hex(
    "49492a001c000000803e814140f32050321e3c0010b7fc35010f80800a0000010300010000000300"
    "000001010300010000000200000002010300030000009a0000000301030001000000050000000601"
    "03000100000002000000110104000100000008000000150103000100000003000000160103000100"
    "0000020000001701040001000000140000001c010300010000000100000000000000080008000800");

// PNG

std::string chunk(const std::string& type, const std::string& data) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (const char c : type + data) {
    crc ^= static_cast<unsigned char>(c);
    for (int k = 0; k < 8; ++k) crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320 : 0);
  }
  return big(static_cast<std::uint32_t>(data.size())) + type + data + big(~crc);
}

/// zlib data with one stored block.
std::string stored(const std::string& data) {
  std::uint32_t a = 1;
  std::uint32_t b = 0;
  for (const char c : data) {
    a = (a + static_cast<unsigned char>(c)) % 65521;
    b = (b + a) % 65521;
  }
  const auto size = static_cast<std::uint32_t>(data.size());
  return bytes({0x78, 1, 1}) + little(size, 2) + little(~size, 2) + data + big(b << 16 | a);
}

struct PngHeader {
  std::uint32_t width, height;
  int bits, color_type;
  int interlace = 0;
};

/// `rows` are the stored rows, each with its filter byte; `before` are chunks ahead of the pixels.
std::string png(const PngHeader& header, const std::string& rows, const std::string& before = "",
                const std::string& after = "") {
  const std::string ihdr = big(header.width) + big(header.height) +
                           bytes({header.bits, header.color_type, 0, 0, header.interlace});
  return "\x89PNG\r\n\x1A\n" + chunk("IHDR", ihdr) + before + chunk("IDAT", stored(rows)) + after +
         chunk("IEND", "");
}

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

// JPEG

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

// WebP and GIF

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

// TIFF

/// Uncompressed, one strip or tile behind the tags; {tag, values} as 16-bit numbers.
std::string tiff(std::vector<std::pair<int, std::vector<int>>> tags, const std::string& data) {
  constexpr int kStripOffsets = 273;
  constexpr int kTileOffsets = 324;
  const std::size_t directory_end = 8 + 2 + 12 * tags.size() + 4;
  std::string directory = little(static_cast<std::uint32_t>(tags.size()), 2);
  std::string rest = data;
  for (auto& [tag, values] : tags) {
    if (tag == kStripOffsets || tag == kTileOffsets) {
      for (int& value : values) value += static_cast<int>(directory_end);
    }
    std::string packed;
    for (const int value : values) packed += little(static_cast<std::uint32_t>(value), 2);
    directory += little(static_cast<std::uint32_t>(tag), 2) + little(3, 2) +
                 little(static_cast<std::uint32_t>(values.size()), 4);
    if (packed.size() > 4) {
      directory += little(static_cast<std::uint32_t>(directory_end + rest.size()), 4);
      rest += packed;
    } else {
      packed.resize(4);
      directory += packed;
    }
  }
  return "II*" + std::string(1, '\0') + little(8, 4) + directory + little(0, 4) + rest;
}

struct TiffKind {
  int width, height, photometric, samples, bits;
};

std::string tiff(const TiffKind& kind, const std::string& data,
                 const std::vector<std::pair<int, std::vector<int>>>& more = {}) {
  const int size = static_cast<int>(data.size());
  std::vector<std::pair<int, std::vector<int>>> tags = {
      {256, {kind.width}},
      {257, {kind.height}},
      {258, std::vector<int>(static_cast<std::size_t>(kind.samples), kind.bits)},
      {259, {1}},
      {262, {kind.photometric}},
      {273, {0}},
      {277, {kind.samples}},
      {278, {kind.height}},
      {279, {size}}};
  for (const auto& tag : more) {
    std::erase_if(tags, [&](const auto& old) { return old.first == tag.first; });
    tags.push_back(tag);
  }
  std::sort(tags.begin(), tags.end());
  return tiff(tags, data);
}

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

// BMP

std::string bmp(int width, int height, int bits, const std::string& palette_and_rows,
                std::uint32_t palette_bytes = 0) {
  return "BM" + little(0, 8) + little(54 + palette_bytes, 4) + little(40, 4) +
         little(static_cast<std::uint32_t>(width), 4) +
         little(static_cast<std::uint32_t>(height), 4) + little(1, 2) +
         little(static_cast<std::uint32_t>(bits), 2) + std::string(24, '\0') + palette_and_rows;
}

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

// PNM

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

// All formats

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
