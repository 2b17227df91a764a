#pragma once

#include <algorithm>
#include <initializer_list>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "blip/base/error.h"
#include "blip/image/decode.h"

// Small pictures, stored and built, for this room's tests.
namespace blip {

using Values = std::vector<std::uint8_t>;

inline Image decode(const std::string& file, const ImageOptions& options = {}) {
  return decode_image(std::as_bytes(std::span(file)), options);
}

inline constexpr ImageOptions kDrop{AlphaMode::drop};
inline constexpr ImageOptions kTurn{AlphaMode::white, true};

inline ErrorCode error_of(const std::string& file, const ImageOptions& options = {}) {
  try {
    decode(file, options);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

inline std::string bytes(std::initializer_list<int> values) {
  std::string result;
  for (const int value : values) result += static_cast<char>(value);
  return result;
}

inline std::string from_hex(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    result += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  }
  return result;
}

inline std::string number(std::uint32_t value, int size, bool big_endian) {
  std::string result;
  for (int i = 0; i < size; ++i) {
    result += static_cast<char>(value >> (8 * (big_endian ? size - 1 - i : i)) & 0xFF);
  }
  return result;
}

inline std::string little(std::uint32_t value, int size) {
  return number(value, size, false);
}
inline std::string big(std::uint32_t value, int size = 4) {
  return number(value, size, true);
}

inline Values grey(std::initializer_list<int> values) {
  Values result;
  for (const int value : values) result.insert(result.end(), 3, static_cast<std::uint8_t>(value));
  return result;
}

// The stored pictures were written by Pillow, which also gave their values.

/// 3 x 2, three components.
inline const std::string kJpeg = from_hex(
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
inline const Values kJpegValues = {245, 12, 15, 37,  196, 33,  55,  54,  254,
                                   0,   2,  11, 245, 255, 241, 133, 121, 131};

/// 3 x 2, four inverted inks with an Adobe marker.
inline const std::string kInkJpeg = from_hex(
    "ffd8ffee000e41646f626500640000000000ffdb0043000302020302020303030304030304050805"
    "050404050a070706080c0a0c0c0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f1718"
    "16141812141514ffc000140800020003044311004d11005911004b1100ffc4001500010100000000"
    "000000000000000000000509ffc4001f100002030100030003000000000000000001020304050600"
    "1112071321ffda000e0443004d0059004b00003f00324e671f671393d4bf9346f69e973189a17aed"
    "9ac924d6ad4f995a59e795c825e492477777625999d9892493e190f318d6f95e1669f268cd349c77"
    "3acf2495919989c8a9ec9247f4f8a723d4ed727f8ef80cec3d7bf8d9e392c2b02a67d97822fdb366"
    "569667f84207d3c923bb1f5ed99d98fb249f2a9f9fffd9");
inline const Values kInkJpegValues = {251, 8, 17, 28,  207, 44,  49,  57,  236,
                                      0,   6, 2,  255, 248, 255, 128, 127, 127};

/// 3 x 2, lossless with alpha.
inline const std::string kWebp = from_hex(
    "5249464652000000574542505650384c460000002f024000102f401660b27f5a21c5975a1a0a01a0"
    "618208219efc5dce462040d188fc36cb2b64d2365455df49dbbec90e40febf8993946bdc414ddb06"
    "6ca8f32f9646f43f9e15");
inline const Values kWebpDropped = {250, 10, 20, 30,  200, 40,  50,  60,  240,
                                    0,   0,  0,  255, 255, 255, 128, 128, 128};
inline const Values kWebpOnWhite = {250, 10,  20,  255, 255, 255, 152, 157, 247,
                                    191, 191, 191, 255, 255, 255, 255, 255, 255};

/// 3 x 2, lossy.
inline const std::string kLossyWebp = from_hex(
    "524946465800000057454250565038204c000000b001009d012a0300020001402625a80274010ef6"
    "a38000fe4f20b102fe633fff2af419933355e0f109104e268ca6ff1fc703efffc9bfff247f08e381"
    "f7ffe4dfd88977cda4ea13e346140000");
inline const Values kLossyWebpValues = {98, 78, 48, 138, 124, 124, 77,  74,  132,
                                        21, 1,  0,  255, 251, 251, 122, 120, 177};

/// A film on a canvas of 4 x 3 whose first frame is one pixel at (2, 2).
inline const std::string kWebpFilm = from_hex(
    "524946465600000057454250565038580a00000002000000030000020000414e494d060000001020"
    "30ff0000414e4d462a000000010000010000000000000000640000005650384c110000002f000000"
    "000750b22257a6ff8188e87f0000");

/// 3 x 2, indices 0 1 2 3 2 1, index 2 transparent.
inline const std::string kGif = from_hex(
    "474946383961030002008100000a141e28323c46505a646e7821f90401000002002c000000000300"
    "0200000809000104103040408080003b");

/// 3 x 5, interlaced, rows of the indices 012 012 321 321 321.
inline const std::string kInterlacedGif = from_hex(
    "474946383761030005008100000a141e28323c46505a646e782c000000000300050000080f000104"
    "102050c00001010e26441810003b");

inline const std::string kLzwTiff = from_hex(
    "49492a001c000000803e814140f32050321e3c0010b7fc35010f80800a0000010300010000000300"
    "000001010300010000000200000002010300030000009a0000000301030001000000050000000601"
    "03000100000002000000110104000100000008000000150103000100000003000000160103000100"
    "0000020000001701040001000000140000001c010300010000000100000000000000080008000800");

inline std::string chunk(const std::string& type, const std::string& data) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (const char c : type + data) {
    crc ^= static_cast<unsigned char>(c);
    for (int k = 0; k < 8; ++k) crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320 : 0);
  }
  return big(static_cast<std::uint32_t>(data.size())) + type + data + big(~crc);
}

/// zlib data with one stored block.
inline std::string stored(const std::string& data) {
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
inline std::string png(const PngHeader& header, const std::string& rows,
                       const std::string& before = "", const std::string& after = "") {
  const std::string ihdr = big(header.width) + big(header.height) +
                           bytes({header.bits, header.color_type, 0, 0, header.interlace});
  return "\x89PNG\r\n\x1A\n" + chunk("IHDR", ihdr) + before + chunk("IDAT", stored(rows)) + after +
         chunk("IEND", "");
}

/// Uncompressed, one strip or tile behind the tags; {tag, values} as 16-bit numbers.
inline std::string tiff(std::vector<std::pair<int, std::vector<int>>> tags,
                        const std::string& data) {
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

inline std::string tiff(const TiffKind& kind, const std::string& data,
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

inline std::string bmp(int width, int height, int bits, const std::string& palette_and_rows,
                       std::uint32_t palette_bytes = 0) {
  return "BM" + std::string(8, '\0') + little(54 + palette_bytes, 4) + little(40, 4) +
         little(static_cast<std::uint32_t>(width), 4) +
         little(static_cast<std::uint32_t>(height), 4) + little(1, 2) +
         little(static_cast<std::uint32_t>(bits), 2) + std::string(24, '\0') + palette_and_rows;
}

}  // namespace blip
