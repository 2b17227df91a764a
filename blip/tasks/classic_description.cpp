#include <algorithm>
#include <utility>

#include "blip/base/error.h"
#include "blip/tasks/description_run.h"

namespace blip {
namespace {

bool under(std::string_view text, int words) {
  return static_cast<int>(count_words(text)) < words;
}

bool over(std::string_view text, int words) {
  return static_cast<int>(count_words(text)) > words;
}

/// The one with the most characters, of equal ones the first; empty when there is none.
std::string longest(std::span<const std::string> texts) {
  const auto found = std::ranges::max_element(texts, {}, &count_characters);
  return found == texts.end() ? "" : *found;
}

/// The phrases that texts may begin with, the beginnings of the recipe's prompts among them.
LeadingParts leading_parts(const ClassicOptions& options) {
  LeadingParts leading{options.leading_phrases, options.leading_punctuation};
  const auto known = [&](std::string_view phrase) {
    return std::ranges::any_of(leading.phrases, [&](const std::string& one) {
      return clean_text(one, {}) == clean_text(phrase, {});
    });
  };
  for (const PromptStage* stage : {&options.describe, &options.extend, &options.refine}) {
    for (const std::string& prompt : stage->prompts) {
      // "... this description: {current}": the colon is dropped with the phrase.
      std::string phrase = prompt.substr(0, prompt.find("{current}"));
      phrase.erase(phrase.find_last_not_of(" :") + 1);
      if (!known(phrase)) leading.phrases.push_back(std::move(phrase));
    }
  }
  return leading;
}

class ClassicRecipe {
 public:
  explicit ClassicRecipe(const DescriptionRun::Setting& setting)
      : options_(setting.options.classic),
        rounds_(setting.options.multi_round ? options_.rounds.at(setting.options.detail) : 1),
        run_(setting, leading_parts(options_), rounds_) {}

  Description describe() {
    current_ = chosen(texts_of(DescriptionStage::prompts, 1, options_.describe));
    report(DescriptionStage::prompts, 1, options_.describe);
    if (under(current_, options_.extend_under_words) &&
        under(current_, options_.extend_prompts_under_words)) {
      lengthen(DescriptionStage::extending, 1, options_.extend, options_.extend_over_words);
    }
    int round = 2;
    while (round <= rounds_ &&
           lengthen(DescriptionStage::round, round, options_.refine, options_.refine_over_words)) {
      ++round;
    }
    Description& result = run_.result();
    result.text = std::move(current_);
    result.rounds = round - 1;
    return std::move(result);
  }

 private:
  std::vector<std::string> texts_of(DescriptionStage stage, int round, const PromptStage& prompts) {
    std::vector<PromptToRun> to_run;
    for (const std::string& prompt : prompts.prompts)
      to_run.push_back({prompt, &prompts.generation});
    std::vector<std::string> texts;
    for (GeneratedText& one : run_.run(stage, round, to_run, current_, options_.least_new_tokens))
      texts.push_back(std::move(one.text));
    return texts;
  }

  void report(DescriptionStage stage, int round, const PromptStage& prompts) const {
    const std::size_t all = prompts.prompts.size();
    run_.report(
        {.stage = stage, .round = round, .done = all, .of = all, .text = current_, .share = 1});
  }

  /// Of the first texts. Where all are short, the longest is better than none.
  std::string chosen(const std::vector<std::string>& texts) const {
    std::vector<std::string> kept;
    for (const std::string& text : texts) {
      if (static_cast<int>(count_characters(text)) > options_.keep_over_characters)
        kept.push_back(text);
    }
    if (kept.empty()) return longest(texts);
    std::string best = longest(kept);
    if (kept.size() > 1 && under(best, options_.word_list_under_words))
      return word_list(kept) + best;
    return best;
  }

  std::string word_list(std::span<const std::string> texts) const {
    const std::vector<std::string> words =
        distinct_words(texts, static_cast<std::size_t>(options_.word_list_over_letters));
    if (words.size() <= static_cast<std::size_t>(options_.word_list_over_words)) return "";
    const std::size_t count =
        std::min(words.size(), static_cast<std::size_t>(options_.word_list_words));
    std::string list = "The image shows ";
    for (std::size_t i = 0; i < count; ++i) list += (i == 0 ? "" : ", ") + words[i];
    return list + ". ";
  }

  /// Takes the longest of the texts that have over `more` words more than the current one. False
  /// when no prompt had room.
  bool lengthen(DescriptionStage stage, int round, const PromptStage& prompts, int more) {
    const int least = static_cast<int>(count_words(current_)) + more;
    std::vector<std::string> texts = texts_of(stage, round, prompts);
    const bool ran = !texts.empty();
    std::erase_if(texts, [&](const std::string& text) { return !over(text, least); });
    if (!texts.empty()) current_ = longest(texts);
    report(stage, round, prompts);
    return ran;
  }

  const ClassicOptions& options_;
  int rounds_;
  DescriptionRun run_;
  std::string current_;
};

}  // namespace

Description describe_classic(const DescriptionRun::Setting& setting) {
  return ClassicRecipe(setting).describe();
}

}  // namespace blip
