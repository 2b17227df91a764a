#include "blip/metrics/vqa_accuracy.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <unordered_map>
#include <vector>

#include "blip/base/error.h"
#include "blip/metrics/ptb_characters.h"
#include "blip/metrics/words.h"

namespace blip {
namespace {

// clang-format off
/// A word that lacks one apostrophe of these gets it.
constexpr std::string_view kContractions[] = {
    "ain't", "aren't", "can't", "could've", "couldn't", "couldn't've", "didn't", "doesn't", "don't", "hadn't",
    "hadn't've", "hasn't", "haven't", "he'd", "he'd've", "he's", "how'd", "how'll", "how's", "isn't", "it'd",
    "it'd've", "it'll", "ma'am", "mightn't", "mightn't've", "might've", "mustn't", "must've", "needn't", "not've",
    "o'clock", "oughtn't", "'ow's'at", "shan't", "she'd've", "should've", "shouldn't", "shouldn't've",
    "somebody'd've", "somebody'll", "somebody's", "someone'd", "someone'd've", "someone'll", "someone's",
    "something'd", "something'd've", "something'll", "that's", "there'd", "there'd've", "there're", "there's",
    "they'd", "they'd've", "they'll", "they're", "they've", "'twas", "wasn't", "we'd've", "we've", "weren't",
    "what'll", "what're", "what's", "what've", "when's", "where'd", "where's", "where've", "who'd", "who'd've",
    "who'll", "who's", "who've", "why'll", "why're", "why's", "won't", "would've", "wouldn't", "wouldn't've",
    "y'all", "y'all'll", "y'all'd've", "you'd", "you'd've", "you'll", "you're", "you've",
};
// clang-format on

constexpr std::array<std::string_view, 11> kNumbers = {
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"};

std::unordered_map<std::string, std::string> word_map() {
  std::unordered_map<std::string, std::string> words = {{"none", "0"}, {"somebody'd", "somebodyd"}};
  for (std::size_t i = 0; i < kNumbers.size(); ++i) {
    words.emplace(kNumbers[i], std::to_string(i));
  }
  for (const std::string_view contraction : kContractions) {
    for (std::size_t i = 0; i < contraction.size(); ++i) {
      if (contraction[i] != '\'') continue;
      words.emplace(std::string(contraction).erase(i, 1), contraction);
    }
  }
  return words;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Whether a comma stands between digits, as in 1,000.
bool has_digit_comma(std::string_view text) {
  for (std::size_t i = 1; i + 1 < text.size(); ++i) {
    if (text[i] == ',' && is_digit(text[i - 1]) && is_digit(text[i + 1])) return true;
  }
  return false;
}

/// A mark goes where it touches a space, or anywhere in a text with a number such as 1,000; else it
/// becomes a space. Full stops go unless a digit follows.
std::string without_punctuation(std::string_view text) {
  constexpr std::string_view kMarks = ";/[]\"{}()=+\\_-><@`,?!";
  constexpr int kMostFullStops =
      32;  // the reference's slip: it passes a flag where a count belongs
  std::array<bool, kMarks.size()> dropped;
  for (std::size_t i = 0; i < kMarks.size(); ++i) {
    dropped[i] = text.find(std::string{kMarks[i], ' '}) != std::string_view::npos ||
                 text.find(std::string{' ', kMarks[i]}) != std::string_view::npos;
  }
  const bool drop_all = has_digit_comma(text);
  std::string spaced;
  for (const char c : text) {
    const std::size_t mark = kMarks.find(c);
    if (mark == std::string_view::npos) {
      spaced += c;
    } else if (!drop_all && !dropped[mark]) {
      spaced += ' ';
    }
  }
  std::string out;
  int full_stops = 0;
  for (std::size_t i = 0; i < spaced.size(); ++i) {
    const bool before_digit = i + 1 < spaced.size() && is_digit(spaced[i + 1]);
    if (spaced[i] == '.' && !before_digit && full_stops < kMostFullStops) {
      ++full_stops;
    } else {
      out += spaced[i];
    }
  }
  return out;
}

std::string lower(std::string_view text) {
  PtbText units;
  append_ptb_text(units, text);
  return lower_utf8(units.units);
}

/// White space inside becomes spaces, that at the ends goes.
std::string trimmed(std::string_view text) {
  std::string out(text);
  std::replace(out.begin(), out.end(), '\n', ' ');
  std::replace(out.begin(), out.end(), '\t', ' ');
  out.resize(strip_end(out).size());
  const std::vector<std::string_view> words = split_words(out);
  return words.empty() ? ""
                       : out.substr(static_cast<std::size_t>(words.front().data() - out.data()));
}

}  // namespace

std::string normalize_answer(std::string_view answer) {
  static const std::unordered_map<std::string, std::string> kWords = word_map();
  const std::string text = lower(without_punctuation(trimmed(answer)));
  std::string out;
  for (const std::string_view word : split_words(text)) {
    if (word == "a" || word == "an" || word == "the") continue;
    const auto found = kWords.find(std::string(word));
    if (!out.empty()) out += ' ';
    out += found == kWords.end() ? word : std::string_view(found->second);
  }
  return out;
}

double vqa_accuracy(std::string_view answer, std::span<const std::string> people) {
  if (people.empty()) throw Error(ErrorCode::usage, "a question has no answers to compare with");
  std::vector<std::string> given;
  for (const std::string& text : people) given.push_back(trimmed(text));
  std::string said = trimmed(answer);
  const bool all_agree = std::all_of(
      given.begin(), given.end(), [&](const std::string& text) { return text == given.front(); });
  if (!all_agree || given.size() == 1) {
    for (std::string& text : given) text = normalize_answer(text);
    said = normalize_answer(said);
  }
  const auto same = std::count(given.begin(), given.end(), said);
  if (given.size() == 1) return static_cast<double>(same);
  // A person who gave this answer has one fewer among the others.
  const auto share = [](auto others) { return std::min(1.0, static_cast<double>(others) / 3); };
  const auto agreeing = static_cast<double>(same);
  const auto all = static_cast<double>(given.size());
  return (agreeing * (same > 0 ? share(same - 1) : 0) + (all - agreeing) * share(same)) / all;
}

}  // namespace blip
