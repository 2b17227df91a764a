#pragma once

#include <cstddef>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace blip {

/// What recipes do with texts. All of it works on UTF-8 character by character.

/// The words between white space of any kind; they point into `text`.
std::vector<std::string_view> words_of(std::string_view text);

std::size_t count_words(std::string_view text);
std::size_t count_characters(std::string_view text);

/// What is dropped from the start of a generated text.
struct LeadingParts {
  std::vector<std::string> phrases;
  std::string punctuation;
};

/// `text` without white space at its ends and without, at its start: each of the phrases, in their
/// order, at most once, in any case, as whole words, with an optional colon after it; a colon;
/// punctuation and white space. Then the first letter becomes a capital.
std::string clean_text(std::string_view text, const LeadingParts& leading);

/// The words of all texts that have over `letters` characters, each once, in order of appearance:
/// in lower case and without the punctuation at their ends.
std::vector<std::string> distinct_words(std::span<const std::string> texts, std::size_t letters);

/// The words of a text that carry its meaning: in lower case, without punctuation at their ends,
/// without articles, prepositions and the like.
std::set<std::string, std::less<>> content_words(std::string_view text);

/// A cleaned text as a sentence: without noise words and words that repeat the one before, with a
/// capital at its start and a period at its end. Empty when nothing is left.
std::string sentence_of(std::string_view cleaned, std::span<const std::string> noise_words);

/// `text` with one space for white space of any kind between words, and none at its ends.
std::string single_spaced(std::string_view text);

}  // namespace blip
