#include <algorithm>
#include <utility>

#include "blip/base/error.h"
#include "blip/tasks/description_run.h"

namespace blip {
namespace {

using WordSet = std::set<std::string, std::less<>>;

struct Candidate {
  DescriptionSentence sentence;
  WordSet words;  ///< that carry its meaning

  /// How many of its words are right, as far as its confidence tells.
  double worth() const { return sentence.confidence * static_cast<double>(words.size()); }
};

/// Share of the smaller set that the other has too.
double shared(const WordSet& a, const WordSet& b) {
  const WordSet& smaller = a.size() < b.size() ? a : b;
  const WordSet& larger = a.size() < b.size() ? b : a;
  const auto both = std::ranges::count_if(
      smaller, [&](const std::string& word) { return larger.contains(word); });
  return static_cast<double>(both) / static_cast<double>(smaller.size());
}

/// Sentences of the texts, each once, with the likelihood as their confidence. Texts that the
/// length limit cut off are left out, unless all were.
std::vector<Candidate> candidates_of(std::vector<GeneratedText> texts,
                                     const FaithfulOptions& options) {
  const auto finished = [](const GeneratedText& text) { return text.finished; };
  if (std::ranges::any_of(texts, finished))
    std::erase_if(texts, [&](const GeneratedText& text) { return !finished(text); });
  std::vector<Candidate> candidates;
  for (const GeneratedText& text : texts) {
    std::string sentence = sentence_of(text.text, options.noise_words);
    WordSet words = content_words(sentence);
    if (words.empty()) continue;
    const auto same = std::ranges::find_if(candidates, [&](const Candidate& candidate) {
      return candidate.sentence.text == sentence;
    });
    if (same == candidates.end()) {
      candidates.push_back({{std::move(sentence), text.likelihood}, std::move(words)});
    } else {
      same->sentence.confidence = std::max(same->sentence.confidence, text.likelihood);
    }
  }
  return candidates;
}

/// Those that are sure enough and say something new, the surest first.
std::vector<DescriptionSentence> chosen(std::vector<Candidate> candidates,
                                        const FaithfulOptions& options, std::size_t most) {
  double best = 0;
  for (const Candidate& one : candidates) best = std::max(best, one.sentence.confidence);
  std::erase_if(candidates, [&](const Candidate& one) {
    return one.sentence.confidence < options.least_share * best;
  });
  std::ranges::stable_sort(candidates, std::greater<>(), &Candidate::worth);
  std::vector<Candidate> taken;
  for (Candidate& one : candidates) {
    if (taken.size() == most) break;
    const bool said = std::ranges::any_of(taken, [&](const Candidate& other) {
      return shared(one.words, other.words) >= options.same_share;
    });
    if (!said) taken.push_back(std::move(one));
  }
  std::vector<DescriptionSentence> sentences;
  for (Candidate& one : taken) sentences.push_back(std::move(one.sentence));
  std::ranges::stable_sort(sentences, std::greater<>(), &DescriptionSentence::confidence);
  return sentences;
}

Judge judge_of(const DescriptionRun::Setting& setting) {
  if (setting.request.judge.confidences || !setting.model.judge) return setting.request.judge;
  return setting.model.judge(setting.request.image);
}

/// Puts the judge's confidences in place of the likelihoods, where there is a judge.
ConfidenceKind judge(const DescriptionRun& run, std::vector<Candidate>& candidates) {
  const Judge judge = judge_of(run.setting());
  if (!judge.confidences || candidates.empty()) return ConfidenceKind::likelihood;
  run.report({.stage = DescriptionStage::scoring, .of = candidates.size()});
  std::vector<std::string> texts;
  for (const Candidate& one : candidates) texts.push_back(one.sentence.text);
  const std::vector<double> confidences = judge.confidences(texts, run.setting().context);
  if (confidences.size() != candidates.size())
    throw Error(ErrorCode::internal, "a judge must judge every text");
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (!(confidences[i] >= 0 && confidences[i] <= 1))
      throw Error(ErrorCode::bad_model,
                  "a confidence must be from 0 to 1, but is " + std::to_string(confidences[i]));
    candidates[i].sentence.confidence = confidences[i];
  }
  return judge.kind;
}

}  // namespace

Description describe_faithful(const DescriptionRun::Setting& setting) {
  const FaithfulOptions& options = setting.options.faithful;
  DescriptionRun run(setting, {options.leading_phrases, options.leading_punctuation}, 1);
  std::vector<PromptToRun> prompts;
  for (const std::string& prompt : options.prompts) {
    prompts.push_back({prompt, &options.beams});
    prompts.push_back({prompt, &options.samples});
  }
  std::vector<Candidate> candidates =
      candidates_of(run.run(DescriptionStage::prompts, 1, prompts, "", 1), options);
  run.report({.done = prompts.size(), .of = prompts.size(), .share = 1});
  Description& result = run.result();
  result.recipe = DescriptionRecipe::faithful;
  result.confidence = judge(run, candidates);
  const auto most = static_cast<std::size_t>(options.sentences.at(setting.options.detail));
  const std::size_t judged = candidates.size();
  result.sentences = chosen(std::move(candidates), options, most);
  for (const DescriptionSentence& sentence : result.sentences)
    result.text += (result.text.empty() ? "" : " ") + sentence.text;
  run.report({.stage = DescriptionStage::scoring,
              .done = judged,
              .of = judged,
              .text = result.text,
              .share = 1});
  return std::move(result);
}

}  // namespace blip
