#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace blip {

/// What BERT's clean-up and word splitting tell apart. Follows the reference (the `tokenizers`
/// library), which knows the categories of Unicode 8.0.
enum class CharClass {
  plain,
  space,        ///< Zs, Zl, Zp, tab, line feed, carriage return
  removed,      ///< NUL, U+FFFD, other control, format and private-use characters
  mark,         ///< nonspacing marks (Mn): the accents
  punctuation,  ///< every ASCII symbol, and P*
};

struct CharInfo {
  CharClass kind = CharClass::plain;
  int combining_class = 0;  ///< canonical, 0..254
};

inline constexpr char32_t kReplacementChar = 0xFFFD;

/// Takes the next character off `text`, which must not be empty. A byte that starts no valid
/// sequence (overlong forms and surrogates are none) is taken alone and gives U+FFFD.
char32_t take_char(std::string_view& text);

bool is_utf8(std::string_view text);

void append_utf8(std::string& text, char32_t c);

CharInfo char_info(char32_t c);

/// The ideographs that BERT sets apart as words of their own, as the reference lists them.
bool is_cjk_ideograph(char32_t c);

/// The lower-case form that is a single character; `c` itself when there is none.
char32_t to_lower(char32_t c);
/// The same for upper case.
char32_t to_upper(char32_t c);

/// Writes the full canonical decomposition of `c` to `out` and returns its length.
std::size_t decompose(char32_t c, std::span<std::int32_t, 8> out);

}  // namespace blip
