#include "apps/server/base64.h"

#include <array>
#include <cstdint>

#include "blip/base/error.h"

namespace blip::server {
namespace {

constexpr std::uint8_t kNone = 0xff;

constexpr std::array<std::uint8_t, 256> make_values() {
  std::array<std::uint8_t, 256> values{};
  for (std::uint8_t& v : values) v = kNone;
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < kAlphabet.size(); ++i)
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  values['-'] = 62;
  values['_'] = 63;
  return values;
}

constexpr std::array<std::uint8_t, 256> kValues = make_values();

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

}  // namespace

std::string decode_base64(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 3);
  std::uint32_t group = 0;
  int count = 0;    // characters in the group
  int padding = 0;  // '=' seen
  for (const char c : text) {
    if (is_space(c)) continue;
    if (c == '=' && padding < 2) {
      ++padding;
      continue;
    }
    const std::uint8_t value = kValues[static_cast<unsigned char>(c)];
    if (value == kNone || padding > 0)
      throw Error(ErrorCode::usage, "base64 text must not hold " + in_quotes({&c, 1}));
    group = group << 6 | value;
    if (++count < 4) continue;
    for (const int shift : {16, 8, 0}) bytes.push_back(static_cast<char>(group >> shift & 0xff));
    group = 0;
    count = 0;
  }
  if (count == 1 || (padding > 0 && count + padding != 4))
    throw Error(ErrorCode::usage, "base64 text ends in the middle of a group of 4 characters");
  if (count >= 2) bytes.push_back(static_cast<char>(group >> (count == 2 ? 4 : 10) & 0xff));
  if (count == 3) bytes.push_back(static_cast<char>(group >> 2 & 0xff));
  return bytes;
}

std::string decode_data_uri(std::string_view text) {
  if (text.starts_with("data:")) {
    const std::size_t comma = text.find(',');
    if (comma == std::string_view::npos || !text.substr(0, comma).ends_with(";base64")) {
      throw Error(ErrorCode::usage,
                  "a data URI must say \";base64,\" before its bytes, but begins with " +
                      in_quotes(text.substr(0, 40)));
    }
    return decode_base64(text.substr(comma + 1));
  }
  if (text.substr(0, 16).find("://") != std::string_view::npos) {
    throw Error(ErrorCode::usage,
                "pictures must be sent as base64 or a data URI; the service fetches nothing, "
                "but was given " +
                    in_quotes(text.substr(0, 80)));
  }
  return decode_base64(text);
}

}  // namespace blip::server
