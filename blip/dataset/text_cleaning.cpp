#include "blip/dataset/text_cleaning.h"

#include <utf8proc.h>

#include <cstdint>

namespace blip {
namespace {

constexpr std::string_view kMarks = ".!\"()*#:;~";

/// The bytes of the character that `text`, which is not empty, begins with, and the character; a
/// byte that is not UTF-8 stands for itself, as none.
struct Character {
  std::size_t size;
  std::int32_t code;
};

Character first_character(std::string_view text) {
  std::int32_t code = -1;
  const auto size = utf8proc_iterate(reinterpret_cast<const std::uint8_t*>(text.data()),
                                     static_cast<utf8proc_ssize_t>(text.size()), &code);
  return size > 0 ? Character{static_cast<std::size_t>(size), code} : Character{1, -1};
}

/// What Python calls white space.
bool is_space(std::int32_t c) {
  return c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F) || c == 0x85 ||
         c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

bool has_case(std::int32_t c) {
  const auto category = utf8proc_category(c);
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
         category == UTF8PROC_CATEGORY_LT;
}

/// Whether a capital sigma between the two is the last letter of its word.
bool ends_word(std::int32_t before, std::string_view after) {
  if (!has_case(before)) return false;
  while (!after.empty()) {
    const Character c = first_character(after);
    if (c.code < 0) return true;
    const auto category = utf8proc_category(c.code);
    if (category != UTF8PROC_CATEGORY_MN && c.code != '\'') return !has_case(c.code);
    after.remove_prefix(c.size);
  }
  return true;
}

void append(std::string& out, std::int32_t c) {
  std::uint8_t bytes[4];
  const auto size = utf8proc_encode_char(c, bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
}

/// Lower case, as Python has it.
std::string lower(std::string_view text) {
  constexpr std::int32_t kSigma = 0x3A3, kFinalSigma = 0x3C2, kDottedI = 0x130;
  std::string out;
  std::int32_t before = -1;
  while (!text.empty()) {
    const Character c = first_character(text);
    const std::string_view bytes = text.substr(0, c.size);
    text.remove_prefix(c.size);
    if (c.code < 0) {
      out += bytes;
    } else if (c.code < 0x80) {
      out += c.code >= 'A' && c.code <= 'Z' ? static_cast<char>(c.code + ('a' - 'A'))
                                            : static_cast<char>(c.code);
    } else if (c.code == kDottedI) {
      out += "i\xCC\x87";
    } else {
      append(out,
             c.code == kSigma && ends_word(before, text) ? kFinalSigma : utf8proc_tolower(c.code));
    }
    before = c.code;
  }
  return out;
}

/// Cuts before the space that follows the last allowed word.
std::string first_words(std::string text, std::size_t max_words) {
  std::size_t words = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ' ' && ++words == max_words) text.resize(i);
  }
  return text;
}

/// The rule is the reference's: a single tab stays, two become a space.
std::string merge_spaces(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    std::size_t spaces = 0, end = 0;
    for (; end < text.size(); ++spaces) {
      const Character c = first_character(text.substr(end));
      if (!is_space(c.code)) break;
      end += c.size;
    }
    if (spaces == 0) end = 1;
    if (spaces > 1) {
      out += ' ';
    } else {
      out += text.substr(0, end);
    }
    text.remove_prefix(end);
  }
  return out;
}

}  // namespace

std::string clean_caption(std::string_view text, std::size_t max_words) {
  std::string spaced;
  for (const char c : lower(text)) spaced += kMarks.find(c) == std::string_view::npos ? c : ' ';
  std::string merged = merge_spaces(spaced);
  while (merged.ends_with('\n')) merged.pop_back();
  const std::size_t begin = merged.find_first_not_of(' ');
  if (begin == std::string::npos) return "";
  return first_words(merged.substr(begin, merged.find_last_not_of(' ') + 1 - begin), max_words);
}

std::string clean_question(std::string_view text, std::size_t max_words) {
  std::string kept;
  for (const char c : lower(text)) {
    if (kMarks.find(c) == std::string_view::npos) kept += c;
  }
  kept.resize(kept.find_last_not_of(' ') + 1);
  return first_words(std::move(kept), max_words);
}

}  // namespace blip
