#include "blip/metrics/ptb_characters.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstddef>
#include <iterator>

namespace blip {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

/// The range of `ranges`, which are in order, that holds `c`; null when none does.
template <class Ranges>
auto find_range(const Ranges& ranges, char32_t c) {
  const auto range = std::partition_point(std::begin(ranges), std::end(ranges),
                                          [c](const auto& r) { return r.last < c; });
  return range != std::end(ranges) && range->first <= c ? range : nullptr;
}

/// Letters of today that the reference, which knows Unicode 6.1 and its first plane alone, does not
/// take for letters, with their neighbours that are none to either.
constexpr Range kNotYetLetters[] = {
    {0x37F, 0x37F},   {0x528, 0x52F},   {0x560, 0x560},   {0x588, 0x588},   {0x5EF, 0x5EF},
    {0x860, 0x88E},   {0x8A1, 0x8A1},   {0x8AD, 0x8C9},   {0x978, 0x978},   {0x980, 0x980},
    {0x9FC, 0x9FC},   {0xAF9, 0xAF9},   {0xC34, 0xC34},   {0xC5A, 0xC5D},   {0xC80, 0xC80},
    {0xCDD, 0xCDD},   {0xD04, 0xD04},   {0xD54, 0xD5F},   {0xE86, 0xE86},   {0xE89, 0xE89},
    {0xE8C, 0xE8C},   {0xE8E, 0xE93},   {0xE98, 0xE98},   {0xEA0, 0xEA0},   {0xEA8, 0xEA9},
    {0xEAC, 0xEAC},   {0x13F5, 0x13FD}, {0x16F1, 0x16F8}, {0x170D, 0x170D}, {0x171F, 0x171F},
    {0x1878, 0x1878}, {0x191D, 0x191E}, {0x19B0, 0x19C0}, {0x19C8, 0x19C9}, {0x1B4C, 0x1B4C},
    {0x1C80, 0x1CBF}, {0x1CF2, 0x1CF3}, {0x1CFA, 0x1CFA}, {0x2C2F, 0x2C2F}, {0x2C5F, 0x2C5F},
    {0x312E, 0x312F}, {0x31BB, 0x31BF}, {0x4DB6, 0x4DBF}, {0x9FCD, 0x9FFF}, {0xA698, 0xA69D},
    {0xA78F, 0xA78F}, {0xA794, 0xA79F}, {0xA7AB, 0xA7F7}, {0xA8FD, 0xA8FE}, {0xA9E0, 0xA9FE},
    {0xAA7E, 0xAA7F}, {0xAB30, 0xABBF},
};

/// What is no letter but may begin or continue a word of the reference.
constexpr Range kMarks[] = {
    {0x2C2, 0x2C5}, {0x2D2, 0x2DF}, {0x2E5, 0x2EB}, {0x2ED, 0x2ED}, {0x2EF, 0x36F}, {0x375, 0x375},
    {0x378, 0x379}, {0x384, 0x385}, {0x3F6, 0x3F6}, {0x483, 0x487}, {0x55A, 0x55F}, {0x591, 0x5BD},
    {0x5BF, 0x5BF}, {0x5C1, 0x5C2}, {0x5C4, 0x5C5}, {0x5C7, 0x5C7}, {0x615, 0x61A}, {0x64B, 0x65E},
    {0x670, 0x670}, {0x6D6, 0x6E4}, {0x6E7, 0x6ED}, {0x6FD, 0x6FE}, {0x70F, 0x70F}, {0x711, 0x711},
    {0x730, 0x74C}, {0x7A6, 0x7B0}, {0x7EB, 0x7F3}, {0x900, 0x903}, {0x93C, 0x93C}, {0x93E, 0x94E},
    {0x951, 0x955}, {0x962, 0x963}, {0x981, 0x983}, {0x9BC, 0x9BC}, {0x9BE, 0x9C4}, {0x9C7, 0x9C8},
    {0x9CB, 0x9CD}, {0x9D7, 0x9D7}, {0x9E2, 0x9E3}, {0xA01, 0xA03}, {0xA3C, 0xA3C}, {0xA3E, 0xA4F},
    {0xA81, 0xA83}, {0xABC, 0xABC}, {0xABE, 0xACF}, {0xB82, 0xB82}, {0xBBE, 0xBC2}, {0xBC6, 0xBC8},
    {0xBCA, 0xBCD}, {0xC01, 0xC03}, {0xC3E, 0xC56}, {0xD3E, 0xD44}, {0xD46, 0xD48}, {0xE31, 0xE31},
    {0xE34, 0xE3A}, {0xE47, 0xE4E}, {0xEB1, 0xEB1}, {0xEB4, 0xEBC}, {0xEC8, 0xECD},
};

constexpr Range kSymbols[] = {
    {0xA1, 0xA1},     {0xA6, 0xA9},     {0xAC, 0xAC},     {0xAE, 0xB1},     {0xB4, 0xB4},
    {0xB6, 0xB8},     {0xBF, 0xBF},     {0xD7, 0xD7},     {0xF7, 0xF7},     {0x37E, 0x37E},
    {0x387, 0x387},   {0x589, 0x589},   {0x5BE, 0x5BE},   {0x5C0, 0x5C0},   {0x5C3, 0x5C3},
    {0x5C6, 0x5C6},   {0x5F3, 0x5F4},   {0x600, 0x603},   {0x606, 0x60A},   {0x60C, 0x60C},
    {0x614, 0x614},   {0x61B, 0x61B},   {0x61E, 0x61F},   {0x66A, 0x66A},   {0x66D, 0x66D},
    {0x6D4, 0x6D4},   {0x700, 0x70D},   {0x7F6, 0x7F8},   {0x964, 0x965},   {0xE4F, 0xE4F},
    {0x1FBD, 0x1FBD}, {0x2016, 0x2017}, {0x2020, 0x2023}, {0x2030, 0x2038}, {0x203B, 0x203B},
    {0x203E, 0x2042}, {0x207C, 0x207E}, {0x208C, 0x208E}, {0x2100, 0x2101}, {0x2103, 0x2106},
    {0x2108, 0x2109}, {0x2114, 0x2114}, {0x2116, 0x2118}, {0x211E, 0x2123}, {0x2125, 0x2125},
    {0x2127, 0x2127}, {0x2129, 0x2129}, {0x212E, 0x212E}, {0x213A, 0x213B}, {0x2140, 0x2144},
    {0x214A, 0x214D}, {0x214F, 0x214F}, {0x2190, 0x24B5}, {0x24D0, 0x2BFF}, {0x3002, 0x3002},
    {0x3012, 0x3012}, {0x30FB, 0x30FB}, {0xFF01, 0xFF0F}, {0xFF1A, 0xFF20}, {0xFF3B, 0xFF40},
    {0xFF5B, 0xFF65},
};

struct Special {
  char32_t first;
  char32_t last;
  char kind;
};

/// Characters that the rules name one by one. U+0080 to U+0097 are those of Windows' code page 1252
/// that turn up there.
constexpr Special kSpecials[] = {
    {0x80, 0x80, ptb::kCurrency},
    {0x85, 0x85, ptb::kLineBreak},
    {0x91, 0x91, ptb::kLeftQuote},
    {0x92, 0x92, ptb::kApostrophe},
    {0x93, 0x94, ptb::kQuote},
    {0x96, 0x97, ptb::kDash},
    {0xA0, 0xA0, ptb::kNoBreakSpace},
    {0xA2, 0xA5, ptb::kCurrency},
    {0xAB, 0xAB, ptb::kQuote},
    {0xAD, 0xAD, ptb::kSoftHyphen},
    {0xB2, 0xB3, ptb::kRaisedDigit},
    {0xB9, 0xB9, ptb::kRaisedDigit},
    {0xBB, 0xBB, ptb::kQuote},
    {0xBC, 0xBE, ptb::kFraction},
    {0x58A, 0x58A, ptb::kHyphen},
    {0x60B, 0x60B, ptb::kCurrency},
    {0x66B, 0x66C, ptb::kDigitSeparator},
    {0xDE6, 0xDEF, ptb::kSkipped},
    {0xE3F, 0xE3F, ptb::kCurrency},
    {0x2000, 0x200A, ptb::kWideSpace},
    {0x2010, 0x2011, ptb::kHyphen},
    {0x2013, 0x2015, ptb::kDash},
    {0x2018, 0x2018, ptb::kLeftQuote},
    {0x2019, 0x2019, ptb::kApostrophe},
    {0x201A, 0x201A, ptb::kQuote},
    {0x201B, 0x201B, ptb::kLeftQuote},
    {0x201C, 0x201F, ptb::kQuote},
    {0x2026, 0x2026, ptb::kEllipsis},
    {0x2028, 0x2029, ptb::kLineBreak},
    {0x2039, 0x203A, ptb::kQuote},
    {0x2044, 0x2044, ptb::kFractionSlash},
    {0x2070, 0x2070, ptb::kRaisedDigit},
    {0x2074, 0x2079, ptb::kRaisedDigit},
    {0x207A, 0x207B, ptb::kRaisedSign},
    {0x2080, 0x2089, ptb::kLoweredDigit},
    {0x208A, 0x208B, ptb::kRaisedSign},
    {0x20A0, 0x20A0, ptb::kCurrency},
    {0x20A4, 0x20A4, ptb::kCurrency},
    {0x20AC, 0x20AC, ptb::kCurrency},
    {0x2153, 0x215E, ptb::kFraction},
    {0x2160, 0x216F, ptb::kCapitalNumeral},
    {0x24B6, 0x24CF, ptb::kCapitalSymbol},
    {0x3000, 0x3000, ptb::kWideSpace},
    {0x3001, 0x3001, ptb::kComma},
    {0xA9F0, 0xA9F9, ptb::kSkipped},
    {0xFFE0, 0xFFE1, ptb::kCurrency},
    {0xFFE5, 0xFFE6, ptb::kCurrency},
};

char ascii_kind(char32_t c) {
  if (c == '\v') return ptb::kLineBreak;
  const bool control = (c < ' ' && c != '\t' && c != '\n' && c != '\f' && c != '\r') || c == 0x7F;
  return control ? ptb::kSkipped : static_cast<char>(c);
}

char kind_of(char32_t c) {
  if (c < 0x80) return ascii_kind(c);
  if (c > 0xFFFF) return ptb::kSkipped;
  if (const auto special = find_range(kSpecials, c)) return special->kind;
  if (find_range(kMarks, c)) return ptb::kMark;
  if (find_range(kSymbols, c)) return ptb::kSymbol;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
      return find_range(kNotYetLetters, c) ? ptb::kSkipped : ptb::kCapitalLetter;
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return find_range(kNotYetLetters, c) ? ptb::kSkipped : ptb::kSmallLetter;
    case UTF8PROC_CATEGORY_ND:
      return ptb::kDigit;
    default:
      return ptb::kSkipped;
  }
}

/// Takes the next character off `text`, which must not be empty; U+FFFD for a byte that begins
/// none.
char32_t take_char(std::string_view& text) {
  utf8proc_int32_t code = -1;
  const auto limit = static_cast<utf8proc_ssize_t>(std::min<std::size_t>(text.size(), 4));
  const utf8proc_ssize_t length =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), limit, &code);
  const bool valid = length > 0 && code >= 0;
  text.remove_prefix(valid ? static_cast<std::size_t>(length) : 1);
  return valid ? static_cast<char32_t>(code) : 0xFFFD;
}

void append_utf8(std::string& text, char32_t c) {
  utf8proc_uint8_t buffer[4];
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), buffer);
  text.append(reinterpret_cast<const char*>(buffer), static_cast<std::size_t>(length));
}

bool is_pair(std::u16string_view units, std::size_t i) {
  return i + 1 < units.size() && (units[i] & 0xFC00) == 0xD800 && (units[i + 1] & 0xFC00) == 0xDC00;
}

bool has_case(std::u16string_view units) {
  return std::any_of(units.begin(), units.end(), [](char16_t unit) {
    const auto code = static_cast<utf8proc_int32_t>(unit);
    return utf8proc_tolower(code) != code || utf8proc_toupper(code) != code;
  });
}

}  // namespace

void append_ptb_text(PtbText& out, std::string_view text) {
  while (!text.empty()) {
    const char32_t c = take_char(text);
    const char kind = kind_of(c);
    if (c > 0xFFFF) {
      out.units += static_cast<char16_t>(0xD800 + ((c - 0x10000) >> 10));
      out.units += static_cast<char16_t>(0xDC00 + ((c - 0x10000) & 0x3FF));
      out.kinds.append(2, kind);
    } else {
      out.units += static_cast<char16_t>(c);
      out.kinds += kind;
    }
  }
}

std::string lower_utf8(std::u16string_view units) {
  constexpr char16_t kSigma = 0x3A3;
  constexpr char16_t kDottedI = 0x130;
  std::string text;
  for (std::size_t i = 0; i < units.size(); ++i) {
    char32_t c = units[i];
    if (is_pair(units, i)) c = 0x10000 + ((c & 0x3FF) << 10) + (units[++i] & 0x3FF);
    if (c == kDottedI) {
      text += "i\u0307";
    } else if (c == kSigma && has_case(units.substr(0, i)) && !has_case(units.substr(i + 1))) {
      text += "\u03C2";  // the final form
    } else {
      append_utf8(text, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
  }
  return text;
}

}  // namespace blip
