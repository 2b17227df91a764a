#include "blip/tasks/description_text.h"

#include <algorithm>
#include <optional>

#include "blip/tokenizer/unicode.h"

namespace blip {
namespace {

constexpr std::string_view kFunctionWords[] = {
    "a",   "an", "and", "are", "as",   "at",   "by",  "for",   "from", "in", "is",  "it",
    "its", "of", "on",  "or",  "some", "that", "the", "there", "this", "to", "was", "with"};

bool is_space(char32_t c) {
  return char_info(c).kind == CharClass::space || c == '\f' || c == '\v' || c == 0x85;
}

bool is_punctuation(char32_t c) {
  return char_info(c).kind == CharClass::punctuation;
}

bool contains(std::string_view characters, char32_t c) {
  while (!characters.empty()) {
    if (take_char(characters) == c) return true;
  }
  return false;
}

/// `text` without what `drop` says of the characters at its start.
template <class Drop>
std::string_view without_leading(std::string_view text, const Drop& drop) {
  while (!text.empty()) {
    std::string_view rest = text;
    if (!drop(take_char(rest))) break;
    text = rest;
  }
  return text;
}

/// The same at its end.
template <class Drop>
std::string_view without_trailing(std::string_view text, const Drop& drop) {
  std::size_t end = 0;  // after the last character that stays
  for (std::string_view rest = text; !rest.empty();) {
    const bool stays = !drop(take_char(rest));
    if (stays) end = text.size() - rest.size();
  }
  return text.substr(0, end);
}

/// What follows `phrase` at the start of `text`, in any case and as whole words.
std::optional<std::string_view> after_phrase(std::string_view text, std::string_view phrase) {
  if (phrase.empty()) return std::nullopt;
  while (!phrase.empty()) {
    if (text.empty() || to_lower(take_char(text)) != to_lower(take_char(phrase)))
      return std::nullopt;
  }
  if (text.empty()) return text;
  std::string_view rest = text;
  const char32_t next = take_char(rest);
  if (!is_space(next) && !is_punctuation(next)) return std::nullopt;
  return text;
}

std::string_view trimmed(std::string_view text) {
  return without_trailing(without_leading(text, is_space), is_space);
}

std::string_view without_colon(std::string_view text) {
  const std::string_view rest = without_leading(text, is_space);
  return rest.starts_with(':') ? without_leading(rest.substr(1), is_space) : rest;
}

std::string capitalised(std::string_view text) {
  std::string result;
  if (text.empty()) return result;
  append_utf8(result, to_upper(take_char(text)));
  return result.append(text);
}

/// In lower case, without punctuation at its ends.
std::string bare(std::string_view word) {
  word = without_trailing(without_leading(word, is_punctuation), is_punctuation);
  std::string result;
  while (!word.empty()) append_utf8(result, to_lower(take_char(word)));
  return result;
}

std::string joined(std::span<const std::string_view> words) {
  std::string text;
  for (const std::string_view word : words) {
    if (!text.empty()) text += ' ';
    text += word;
  }
  return text;
}

}  // namespace

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (std::string_view rest = without_leading(text, is_space); !rest.empty();
       rest = without_leading(rest, is_space)) {
    const std::string_view after = without_leading(rest, [](char32_t c) { return !is_space(c); });
    words.push_back(rest.substr(0, rest.size() - after.size()));
    rest = after;
  }
  return words;
}

std::size_t count_words(std::string_view text) {
  return words_of(text).size();
}

std::size_t count_characters(std::string_view text) {
  std::size_t count = 0;
  for (; !text.empty(); ++count) take_char(text);
  return count;
}

std::string clean_text(std::string_view text, const LeadingParts& leading) {
  text = trimmed(text);
  for (const std::string& phrase : leading.phrases) {
    if (const auto rest = after_phrase(text, phrase)) text = without_colon(*rest);
  }
  text = without_colon(text);
  text = without_leading(
      text, [&](char32_t c) { return is_space(c) || contains(leading.punctuation, c); });
  return capitalised(text);
}

std::vector<std::string> distinct_words(std::span<const std::string> texts, std::size_t letters) {
  std::vector<std::string> distinct;
  std::set<std::string> seen;
  for (const std::string& text : texts) {
    for (const std::string_view word : words_of(text)) {
      std::string plain = bare(word);
      if (count_characters(plain) > letters && seen.insert(plain).second)
        distinct.push_back(std::move(plain));
    }
  }
  return distinct;
}

std::set<std::string, std::less<>> content_words(std::string_view text) {
  std::set<std::string, std::less<>> words;
  for (const std::string_view word : words_of(text)) {
    std::string plain = bare(word);
    if (!plain.empty() && std::ranges::find(kFunctionWords, plain) == std::end(kFunctionWords))
      words.insert(std::move(plain));
  }
  return words;
}

std::string sentence_of(std::string_view cleaned, std::span<const std::string> noise_words) {
  std::vector<std::string_view> kept;
  std::string before;
  for (const std::string_view word : words_of(cleaned)) {
    std::string plain = bare(word);
    const bool noise = std::ranges::find(noise_words, plain) != noise_words.end();
    if (noise || (plain == before && !plain.empty())) continue;
    kept.push_back(word);
    before = std::move(plain);
  }
  std::string text = capitalised(joined(kept));
  const auto ends = [](char32_t c) { return is_space(c) || is_punctuation(c); };
  if (without_leading(text, ends).empty()) return "";
  if (text.ends_with('.') || text.ends_with('!') || text.ends_with('?')) return text;
  return std::string(without_trailing(text, ends)) + ".";
}

std::string single_spaced(std::string_view text) {
  return joined(words_of(text));
}

}  // namespace blip
