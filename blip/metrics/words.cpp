#include "blip/metrics/words.h"

#include <cstddef>

namespace blip {
namespace {

/// Bytes of the white space character that `text` begins with, 0 when it begins with another.
std::size_t space_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto first = static_cast<unsigned char>(text.front());
  if (first < 0x80)
    return first == ' ' || (first >= 0x09 && first <= 0x0D) || (first >= 0x1C && first <= 0x1F);
  for (const std::string_view space :
       {"\u0085", "\u00A0", "\u1680", "\u2028", "\u2029", "\u202F", "\u205F", "\u3000"}) {
    if (text.starts_with(space)) return space.size();
  }
  const bool wide = text.starts_with("\xE2\x80") && text.size() > 2 &&
                    static_cast<unsigned char>(text[2]) >= 0x80 &&
                    static_cast<unsigned char>(text[2]) <= 0x8A;
  return wide ? 3 : 0;  // U+2000 to U+200A
}

}  // namespace

std::vector<std::string_view> split_words(std::string_view text) {
  std::vector<std::string_view> words;
  std::size_t begin = 0;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t space = space_length(text.substr(at));
    if (space == 0 && at < text.size()) {
      ++at;
      continue;
    }
    if (at > begin) words.push_back(text.substr(begin, at - begin));
    at += space == 0 ? 1 : space;
    begin = at;
  }
  return words;
}

std::string_view strip_end(std::string_view text) {
  const std::vector<std::string_view> words = split_words(text);
  if (words.empty()) return {};
  return text.substr(
      0, static_cast<std::size_t>(words.back().data() + words.back().size() - text.data()));
}

}  // namespace blip
