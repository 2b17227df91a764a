#include "blip/metrics/ptb_tokenizer.h"

#include <re2/re2.h>
#include <re2/set.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "blip/base/error.h"
#include "blip/metrics/ptb_characters.h"
#include "blip/metrics/ptb_rules.h"
#include "blip/metrics/words.h"

namespace blip {
namespace {

using ptb::Treatment;

RE2::Options options() {
  RE2::Options options(RE2::Latin1);
  options.set_longest_match(true);
  options.set_log_errors(false);
  options.set_max_mem(std::int64_t{64} << 20);
  return options;
}

/// Writes definitions in the place of their names in braces.
class Patterns {
 public:
  Patterns() {
    for (const ptb::Definition& definition : ptb::kDefinitions) {
      expanded_[definition.name] = expand(definition.pattern);
    }
  }

  std::string expand(std::string_view pattern) const {
    std::string out;
    while (!pattern.empty()) {
      const std::size_t close = pattern.front() == '{' ? pattern.find('}') : std::string_view::npos;
      const auto found = close == std::string_view::npos
                             ? expanded_.end()
                             : expanded_.find(pattern.substr(1, close - 1));
      if (found == expanded_.end()) {
        out += pattern.front();
        pattern.remove_prefix(1);
      } else {
        out += found->second;
        pattern.remove_prefix(close + 1);
      }
    }
    return out;
  }

 private:
  std::map<std::string_view, std::string> expanded_;
};

using Replacement = std::pair<std::string_view, std::string_view>;

constexpr Replacement kNoSpace[] = {{" ", "\u00A0"}};
constexpr Replacement kRoundBrackets[] = {{"(", "-lrb-"}, {")", "-rrb-"}};
constexpr Replacement kBrackets[] = {{" ", "\u00A0"}, {"(", "-lrb-"}, {")", "-rrb-"},
                                     {"[", "-lsb-"},  {"]", "-rsb-"}, {"{", "-lcb-"},
                                     {"}", "-rcb-"}};
constexpr Replacement kEntity[] = {{"&amp;", "&"}};
constexpr Replacement kFractions[] = {
    {"\u00BC", "1/4"}, {"\u00BD", "1/2"}, {"\u00BE", "3/4"}, {"\u2153", "1/3"}, {"\u2154", "2/3"}};
constexpr Replacement kCurrencies[] = {{"\u00A2", "cents"}, {"\u00A3", "#"}, {"\u0080", "$"},
                                       {"\u00A4", "$"},     {"\u20A0", "$"}, {"\u20AC", "$"}};
constexpr Replacement kQuotes[] = {
    {"&apos;", "'"},  {"\u0091", "`"},  {"\u2018", "`"},  {"\u201B", "`"},  {"\u2039", "`"},
    {"\u0092", "'"},  {"\u2019", "'"},  {"\u203A", "'"},  {"\u0093", "``"}, {"\u201C", "``"},
    {"\u00AB", "``"}, {"\u0094", "''"}, {"\u201D", "''"}, {"\u00BB", "''"}};
constexpr Replacement kSoftHyphen[] = {{"\u00AD", ""}};

std::string replaced(std::string text, std::span<const Replacement> replacements) {
  for (const auto& [from, to] : replacements) {
    std::size_t at = 0;
    while ((at = text.find(from, at)) != std::string::npos) {
      text.replace(at, from.size(), to);
      at += to.size();
    }
  }
  return text;
}

/// What a token is written as; nothing for what leaves no token.
std::optional<std::string> written(std::string text, Treatment treatment) {
  switch (treatment) {
    case Treatment::skip:
    case Treatment::line_break:
      return std::nullopt;
    case Treatment::join:
      text = replaced(std::move(text), kSoftHyphen);
      return text.empty() ? "-" : text;
    case Treatment::entity:
      return replaced(std::move(text), kEntity);
    case Treatment::quote:
      return replaced(std::move(text), kQuotes);
    case Treatment::open_quote:
      return "`";
    case Treatment::less:
      return "<";
    case Treatment::greater:
      return ">";
    case Treatment::no_space:
      return replaced(std::move(text), kNoSpace);
    case Treatment::bracket:
      return replaced(std::move(text), kBrackets);
    case Treatment::smiley:
      return replaced(std::move(text), kRoundBrackets);
    case Treatment::dash:
      return "--";
    case Treatment::ellipsis:
      return "...";
    case Treatment::fraction:
      return replaced(std::move(text), kFractions);
    case Treatment::currency:
      return replaced(std::move(text), kCurrencies);
    case Treatment::keep:
    case Treatment::cut_two:
    case Treatment::cut_three:
    case Treatment::full_stop:
    case Treatment::initial:
      break;
  }
  return text;
}

/// pycocoevalcap's list. Brackets are not on it: it has -LRB- and the tokens are lower case.
bool is_punctuation(std::string_view token) {
  constexpr std::array<std::string_view, 13> kPunctuation = {"''", "'", "``", "`",  ".",   "?", "!",
                                                             ",",  ":", "-",  "--", "...", ";"};
  return std::find(kPunctuation.begin(), kPunctuation.end(), token) != kPunctuation.end();
}

/// In UTF-16 units: what a token shows, and how far its end is from its start.
struct Extent {
  std::size_t shown;
  std::size_t taken;
};

Extent extent_of(std::size_t length, Treatment treatment) {
  switch (treatment) {
    case Treatment::cut_two:
      return {length - 2, length - 2};
    case Treatment::cut_three:
      return {length - 3, length - 3};
    case Treatment::full_stop:
      return {length, length - 1};
    case Treatment::initial:
      return {length == 2 ? 1 : length, length - 1};
    default:
      return {length, length};
  }
}

PtbText as_lines(std::span<const std::string> captions) {
  PtbText text;
  for (const std::string& caption : captions) {
    if (caption.size() > PtbTokenizer::kMaxCaptionBytes) {
      throw Error(ErrorCode::too_large, "a caption has " + std::to_string(caption.size()) +
                                            " bytes; at most " +
                                            std::to_string(PtbTokenizer::kMaxCaptionBytes) +
                                            " are read: " + in_quotes(caption));
    }
    if (&caption != captions.data()) append_ptb_text(text, "\n");
    append_ptb_text(text, replaced(caption, std::array{Replacement{"\n", " "}}));
  }
  return text;
}

}  // namespace

class PtbTokenizer::Lexer {
 public:
  Lexer() : rule_of_(options(), RE2::ANCHOR_BOTH) {
    const Patterns patterns;
    std::string any;
    for (const ptb::Rule& rule : ptb::kRules) {
      const std::string token = "(" + patterns.expand(rule.token) + ")";
      const std::string whole = token + "(?:" + patterns.expand(rule.context) + ")";
      rules_.push_back(std::make_unique<RE2>(whole, options()));
      std::string message;
      if (!rules_.back()->ok() || rule_of_.Add(whole, &message) < 0) {
        throw Error(ErrorCode::internal, "token pattern " + in_quotes(rule.token) + " is invalid");
      }
      any += (any.empty() ? "(?:" : "|(?:") + whole + ")";
    }
    any_ = std::make_unique<RE2>(any, options());
    if (!any_->ok() || !rule_of_.Compile()) {
      throw Error(ErrorCode::internal, "the token patterns together are invalid");
    }
  }

  struct Token {
    std::size_t length;  ///< in UTF-16 units
    Treatment treatment;
  };

  /// The token at the start of `kinds`, which must not be empty.
  Token next(std::string_view kinds) const {
    re2::StringPiece match;
    const re2::StringPiece text(kinds.data(), kinds.size());
    if (!any_->Match(text, 0, text.size(), RE2::ANCHOR_START, &match, 1)) {
      throw Error(ErrorCode::internal, "no token pattern matches");
    }
    std::vector<int> matching;
    if (!rule_of_.Match(match, &matching)) {
      throw Error(ErrorCode::too_large, "a caption needs too much memory to be tokenized");
    }
    const auto index =
        static_cast<std::size_t>(*std::min_element(matching.begin(), matching.end()));
    const ptb::Rule& rule = ptb::kRules[index];
    if (rule.context.empty()) return {match.size(), rule.treatment};
    re2::StringPiece parts[2];
    rules_[index]->Match(match, 0, match.size(), RE2::ANCHOR_BOTH, parts, 2);
    return {parts[1].size(), rule.treatment};
  }

 private:
  std::unique_ptr<RE2> any_;  ///< finds the longest match
  RE2::Set rule_of_;          ///< says whose it is
  std::vector<std::unique_ptr<RE2>> rules_;
};

PtbTokenizer::PtbTokenizer() : lexer_(std::make_unique<Lexer>()) {}
PtbTokenizer::~PtbTokenizer() = default;
PtbTokenizer::PtbTokenizer(PtbTokenizer&&) noexcept = default;
PtbTokenizer& PtbTokenizer::operator=(PtbTokenizer&&) noexcept = default;

std::vector<std::string> PtbTokenizer::tokenize(std::span<const std::string> captions) const {
  const PtbText text = as_lines(captions);
  std::vector<std::string> lines(captions.size());
  std::size_t line = 0;
  for (std::size_t at = 0; at < text.kinds.size();) {
    const auto [length, treatment] = lexer_->next(std::string_view(text.kinds).substr(at));
    const Extent extent = extent_of(length, treatment);
    const auto token =
        written(lower_utf8(std::u16string_view(text.units).substr(at, extent.shown)), treatment);
    if (treatment == Treatment::line_break) ++line;
    at += extent.taken;
    if (!token || is_punctuation(*token)) continue;
    const bool last = at == text.kinds.size() || text.kinds[at] == '\n';
    if (!lines[line].empty()) lines[line] += ' ';
    lines[line] += last ? strip_end(*token) : *token;
  }
  return lines;
}

}  // namespace blip
