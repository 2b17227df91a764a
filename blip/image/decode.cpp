#include "blip/image/decode.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <string_view>

#include "blip/base/file.h"
#include "blip/image/codecs.h"
#include "blip/image/orientation.h"

namespace blip {
namespace {

using namespace std::string_view_literals;

/// Keeps the tables of resizing and all products of sizes small, whatever max_pixels says.
constexpr std::uint64_t kMaxSide = 1u << 20;
constexpr std::size_t kMaxFileBytes = std::size_t{1} << 30;

using Decoder = Pixels (*)(Bytes, const ImageOptions&);

struct Signature {
  std::string_view start;
  Decoder decode;
};

constexpr std::array kSignatures = {
    Signature{"\xFF\xD8\xFF"sv, decode_jpeg},
    Signature{"\x89PNG\r\n\x1A\n"sv, decode_png},
    Signature{"II*\0"sv, decode_tiff},
    Signature{"MM\0*"sv, decode_tiff},
    Signature{"II+\0"sv, decode_tiff},
    Signature{"MM\0+"sv, decode_tiff},
    Signature{"GIF87a"sv, decode_gif},
    Signature{"GIF89a"sv, decode_gif},
    Signature{"BM"sv, decode_bmp},
};

struct KnownFormat {
  std::string_view start;
  std::string_view name;
};

/// Formats that people try, named so that the message is of use.
constexpr std::array kKnownFormats = {
    KnownFormat{"%PDF"sv, "PDF"},
    KnownFormat{"%!PS"sv, "PostScript"},
    KnownFormat{"8BPS"sv, "Photoshop"},
    KnownFormat{"\xFF\x0A"sv, "JPEG XL"},
    KnownFormat{"\0\0\0\x0CJXL "sv, "JPEG XL"},
    KnownFormat{"\0\0\0\x0CjP  "sv, "JPEG 2000"},
    KnownFormat{"\xFF\x4F\xFF\x51"sv, "JPEG 2000"},
    KnownFormat{"\0\0\1\0"sv, "ICO"},
    KnownFormat{"qoif"sv, "QOI"},
    KnownFormat{"DDS "sv, "DDS"},
    KnownFormat{"\x76\x2F\x31\x01"sv, "OpenEXR"},
    KnownFormat{"#?RADIANCE"sv, "Radiance HDR"},
    KnownFormat{"PK\x03\x04"sv, "ZIP"},
    KnownFormat{"\x1F\x8B"sv, "gzip"},
};

bool is_pnm(std::string_view start) {
  return start.size() >= 3 && start[0] == 'P' && start[1] >= '1' && start[1] <= '6' &&
         " \t\n\v\f\r"sv.find(start[2]) != std::string_view::npos;
}

Decoder find_decoder(std::string_view start) {
  for (const Signature& signature : kSignatures) {
    if (start.starts_with(signature.start)) return signature.decode;
  }
  if (start.starts_with("RIFF") && start.substr(4).substr(0, 8).ends_with("WEBP"))
    return decode_webp;
  return is_pnm(start) ? decode_pnm : nullptr;
}

/// HEIC, AVIF and films are all "ISO base media files"; a brand tells which.
std::optional<std::string_view> iso_media_name(std::string_view start) {
  if (start.size() < 12 || start.substr(4, 4) != "ftyp") return std::nullopt;
  const std::string_view brand = start.substr(8, 4);
  if (brand == "avif" || brand == "avis") return "AVIF";
  for (const std::string_view heif : {"heic", "heix", "hevc", "heim", "heis", "mif1", "msf1"}) {
    if (brand == heif) return "HEIC";
  }
  return "MP4";
}

std::string lower_case(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

bool looks_like_text(std::string_view start) {
  return std::all_of(start.begin(), start.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 ? byte != 0x7F : byte == '\t' || byte == '\n' || byte == '\r';
  });
}

constexpr char kHandledFormats[] = "JPEG, PNG, WebP, TIFF, GIF, BMP and PNM";

[[noreturn]] void refuse_format(std::string_view name) {
  throw Error(ErrorCode::unsupported, "it looks like " + std::string(name) +
                                          ", which is not handled; " + kHandledFormats + " are");
}

[[noreturn]] void refuse_unknown(std::string_view start) {
  for (const KnownFormat& format : kKnownFormats) {
    if (start.starts_with(format.start)) refuse_format(format.name);
  }
  if (const auto name = iso_media_name(start)) refuse_format(*name);
  const std::string text = lower_case(start);
  if (text.find("<svg") != std::string::npos) refuse_format("SVG");
  std::string message = std::string("not a picture of a known format (") + kHandledFormats + ")";
  if (text.find("<html") != std::string::npos || text.find("<!doctype html") != std::string::npos) {
    message += ": it looks like an HTML page";
  } else if (looks_like_text(start)) {
    message += ": it looks like text";
  } else {
    message += ": it starts with " + in_quotes(start.substr(0, 8));
  }
  throw Error(ErrorCode::bad_image, message);
}

/// Lays RGBA on white and closes up to RGB, in place: the picture may be large.
Image to_image(Pixels pixels) {
  if (pixels.channels == 4) {
    std::uint8_t* out = pixels.values.data();
    const std::uint8_t* in = out;
    for (std::size_t i = 0; i < pixels.count(); ++i, in += 4, out += 3) {
      const unsigned alpha = in[3];
      for (int c = 0; c < 3; ++c) out[c] = on_white(in[c], alpha);
    }
    pixels.values.resize(pixels.count() * 3);
  }
  return Image{pixels.width, pixels.height, std::move(pixels.values)};
}

}  // namespace

void check_size(std::uint64_t width, std::uint64_t height, std::string_view format,
                const ImageOptions& options) {
  const std::string size = std::to_string(width) + " x " + std::to_string(height) + " pixels";
  if (width == 0 || height == 0) {
    throw damaged(format, "its header says " + size);
  }
  if (width > kMaxSide || height > kMaxSide) {
    throw Error(ErrorCode::too_large, "the " + std::string(format) + " picture has " + size +
                                          "; no side may be longer than " +
                                          std::to_string(kMaxSide));
  }
  if (static_cast<std::int64_t>(width * height) > options.max_pixels) {
    throw Error(ErrorCode::too_large, "the " + std::string(format) + " picture has " + size +
                                          "; at most " + std::to_string(options.max_pixels) +
                                          " pixels are decoded");
  }
}

Error damaged(std::string_view format, const std::string& detail) {
  return Error(ErrorCode::bad_image, "damaged " + std::string(format) + " picture: " + detail);
}

Error unhandled(std::string_view format, const std::string& detail) {
  return Error(ErrorCode::unsupported,
               std::string(format) + " pictures " + detail + " are not handled");
}

Image decode_image(std::span<const std::byte> bytes, const ImageOptions& options) {
  if (bytes.empty()) throw Error(ErrorCode::bad_image, "the picture is empty: it has 0 bytes");
  constexpr std::size_t kSniffed = 1024;
  const Bytes data(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()),
                               std::min(bytes.size(), kSniffed));
  const Decoder decode = find_decoder(start);
  if (decode == nullptr) refuse_unknown(start);
  Pixels pixels = decode(data, options);
  const int orientation = pixels.orientation;
  return turned(to_image(std::move(pixels)), orientation);
}

Image load_image(const std::filesystem::path& file, const ImageOptions& options) {
  const std::string content = read_file(file, kMaxFileBytes);
  try {
    return decode_image(std::as_bytes(std::span(content)), options);
  } catch (const Error& error) {
    throw Error(error.code(), file.string() + ": " + error.what());
  }
}

}  // namespace blip
