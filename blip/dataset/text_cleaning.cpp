#include "blip/dataset/text_cleaning.h"

namespace blip {
namespace {

constexpr std::string_view kMarks = ".!\"()*#:;~";

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1C' && c <= '\x1F');
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
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
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    while (end < text.size() && is_space(text[end])) ++end;
    if (end > i + 1) {
      out += ' ';
      i = end;
    } else {
      out += text[i++];
    }
  }
  return out;
}

}  // namespace

std::string clean_caption(std::string_view text, std::size_t max_words) {
  std::string spaced;
  for (const char c : text) spaced += kMarks.find(c) == std::string_view::npos ? lower(c) : ' ';
  std::string merged = merge_spaces(spaced);
  while (merged.ends_with('\n')) merged.pop_back();
  const std::size_t begin = merged.find_first_not_of(' ');
  if (begin == std::string::npos) return "";
  return first_words(merged.substr(begin, merged.find_last_not_of(' ') + 1 - begin), max_words);
}

std::string clean_question(std::string_view text, std::size_t max_words) {
  std::string kept;
  for (const char c : text) {
    if (kMarks.find(c) == std::string_view::npos) kept += lower(c);
  }
  kept.resize(kept.find_last_not_of(' ') + 1);
  return first_words(std::move(kept), max_words);
}

}  // namespace blip
