#include "blip/tokenizer/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

namespace blip {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

// utf8proc knows a newer Unicode than the reference's categories (8.0) and decompositions (9.0). In
// these ranges, and for Unicode up to 18 nowhere else, utf8proc sees marks, punctuation, format
// characters or decompositions where the reference sees plain characters. Found by asking both
// about every code point; a range also covers neighbours that are plain to both.
constexpr Range kPlainToReference[] = {
    {0x5C8, 0x5C9},     {0x61D, 0x61D},     {0x7FD, 0x7FD},     {0x890, 0x8E2},
    {0x9FD, 0x9FE},     {0xA76, 0xA76},     {0xAFA, 0xAFF},     {0xB53, 0xB55},
    {0xC04, 0xC3C},     {0xC77, 0xC77},     {0xC84, 0xC84},     {0xD00, 0xD00},
    {0xD3B, 0xD3C},     {0xD81, 0xD81},     {0xEBA, 0xEBA},     {0xECE, 0xECE},
    {0x180F, 0x1886},   {0x1ABF, 0x1AF0},   {0x1B4E, 0x1B4F},   {0x1B7D, 0x1B7F},
    {0x1DF6, 0x1DFB},   {0x2E43, 0x2E63},   {0xA82C, 0xA82C},   {0xA8C5, 0xA8C5},
    {0xA8FF, 0xA8FF},   {0xA9BD, 0xA9BD},   {0x105C9, 0x105E4}, {0x10D24, 0x10F89},
    {0x11070, 0x11074}, {0x110C2, 0x110CD}, {0x111CF, 0x111CF}, {0x1123E, 0x11241},
    {0x1133B, 0x1133B}, {0x11383, 0x1145E}, {0x11660, 0x1166C}, {0x116B9, 0x116B9},
    {0x1182F, 0x11FFF}, {0x12FF1, 0x1612F}, {0x16D68, 0x16F4F}, {0x16FE2, 0x16FF1},
    {0x1CF00, 0x1D128}, {0x1D25B, 0x1D25C}, {0x1E000, 0x1E6F5}, {0x1E944, 0x1E95F},
};

bool is_plain_to_reference(char32_t c) {
  const auto* range = std::ranges::lower_bound(kPlainToReference, c, {}, &Range::last);
  return range != std::end(kPlainToReference) && c >= range->first;
}

CharClass ascii_class(char32_t c) {
  if (c == ' ' || c == '\t' || c == '\n' || c == '\r') return CharClass::space;
  if (c < ' ' || c == 0x7F) return CharClass::removed;
  const bool alphanumeric = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
  return alphanumeric ? CharClass::plain : CharClass::punctuation;
}

CharClass category_class(char32_t c, int category) {
  // Three characters changed their category after Unicode 8.0.
  if (c == 0x1734) return CharClass::mark;
  if (c == 0x166D || c == 0x111C9) return CharClass::punctuation;
  if (c == kReplacementChar) return CharClass::removed;
  switch (category) {
    case UTF8PROC_CATEGORY_MN:
      return CharClass::mark;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return CharClass::space;
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
      return CharClass::removed;
    default:
      return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO
                 ? CharClass::punctuation
                 : CharClass::plain;
  }
}

const utf8proc_uint8_t* bytes(std::string_view text) {
  return reinterpret_cast<const utf8proc_uint8_t*>(text.data());
}

/// Length of the valid sequence at the start of `text` and its character, or 0.
std::size_t read_char(std::string_view text, char32_t& c) {
  utf8proc_int32_t code = -1;
  // No sequence is longer than 4 bytes.
  const auto limit = static_cast<utf8proc_ssize_t>(std::min<std::size_t>(text.size(), 4));
  const utf8proc_ssize_t length = utf8proc_iterate(bytes(text), limit, &code);
  if (length <= 0 || code < 0) return 0;
  c = static_cast<char32_t>(code);
  return static_cast<std::size_t>(length);
}

}  // namespace

char32_t take_char(std::string_view& text) {
  const auto first = static_cast<unsigned char>(text.front());
  char32_t c = first;
  std::size_t length = first < 0x80 ? 1 : read_char(text, c);
  if (length == 0) {
    length = 1;
    c = kReplacementChar;
  }
  text.remove_prefix(length);
  return c;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    char32_t c = 0;
    const std::size_t length =
        static_cast<unsigned char>(text.front()) < 0x80 ? 1 : read_char(text, c);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

void append_utf8(std::string& text, char32_t c) {
  utf8proc_uint8_t buffer[4];
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), buffer);
  text.append(reinterpret_cast<const char*>(buffer), static_cast<std::size_t>(length));
}

CharInfo char_info(char32_t c) {
  if (c < 0x80) return {ascii_class(c), 0};
  if (is_plain_to_reference(c)) return {};
  const utf8proc_property_t* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
  return {category_class(c, property->category), property->combining_class};
}

bool is_cjk_ideograph(char32_t c) {
  // U+2B820..U+2B91F are ideographs too, but the reference leaves them out.
  constexpr Range kIdeographs[] = {
      {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},   {0x20000, 0x2A6DF},
      {0x2A700, 0x2B81F}, {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F},
  };
  return std::ranges::any_of(kIdeographs,
                             [c](Range range) { return c >= range.first && c <= range.last; });
}

char32_t to_lower(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 0x20 : c;
  // The reference also lowers 55 capitals that came after Unicode 15, which utf8proc 2.8 does not
  // know. BERT's vocabulary has no token with either form, so that the word is [UNK] both ways.
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

char32_t to_upper(char32_t c) {
  if (c < 0x80) return c >= 'a' && c <= 'z' ? c - 0x20 : c;
  return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}

std::size_t decompose(char32_t c, std::span<std::int32_t, 8> out) {
  // Hangul and everything else: at most 4 characters.
  const bool whole = c < 0xC0 || is_plain_to_reference(c);
  const utf8proc_ssize_t length =
      whole ? 0
            : utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), out.data(),
                                      static_cast<utf8proc_ssize_t>(out.size()), UTF8PROC_DECOMPOSE,
                                      nullptr);
  if (length > 0 && length <= static_cast<utf8proc_ssize_t>(out.size())) {
    return static_cast<std::size_t>(length);
  }
  out[0] = static_cast<std::int32_t>(c);
  return 1;
}

}  // namespace blip
