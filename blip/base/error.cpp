#include "blip/base/error.h"

#include <cstdio>

namespace blip {
namespace {

struct CodeInfo {
  ErrorCode code;
  std::string_view name;
  int exit_status;
};

constexpr CodeInfo kCodes[] = {
    {ErrorCode::usage, "usage", 2},
    {ErrorCode::not_found, "not_found", 3},
    {ErrorCode::io, "io", 4},
    {ErrorCode::bad_model, "bad_model", 5},
    {ErrorCode::unsupported, "unsupported", 6},
    {ErrorCode::bad_image, "bad_image", 7},
    {ErrorCode::too_large, "too_large", 8},
    {ErrorCode::cancelled, "cancelled", 130},
    {ErrorCode::internal, "internal", 70},
};

const CodeInfo& info(ErrorCode code) noexcept {
  for (const CodeInfo& entry : kCodes) {
    if (entry.code == code) return entry;
  }
  return kCodes[std::size(kCodes) - 1];
}

/// Bytes of the UTF-8 character that `text`, which is not empty, begins with; 0 when it is none.
std::size_t utf8_length(std::string_view text) noexcept {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  const bool surrogate = lead == 0xed && byte(1) > 0x9f;
  const bool beyond = lead == 0xf4 && byte(1) > 0x8f;
  return overlong || surrogate || beyond ? 0 : length;
}

}  // namespace

int exit_status(ErrorCode code) noexcept {
  return info(code).exit_status;
}

std::string_view name(ErrorCode code) noexcept {
  return info(code).name;
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kLimit = 200;
  std::string out = "\"";
  std::size_t i = 0;
  while (i < text.size() && i < kLimit) {
    const auto c = static_cast<unsigned char>(text[i]);
    const std::size_t length = utf8_length(text.substr(i));
    if (length == 0 || c < 0x20 || c == 0x7f) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\x%02x", c);
      out += escape;
      ++i;
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += text.substr(i, length);
    i += length;
  }
  if (i < text.size()) out += "...";
  return out + "\"";
}

}  // namespace blip
