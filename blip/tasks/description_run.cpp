#include "blip/tasks/description_run.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "blip/base/error.h"
#include "blip/base/random.h"
#include "blip/generation/search.h"

namespace blip {
namespace {

constexpr std::string_view kCurrent = "{current}";
constexpr double kShareStep = 0.05;  // of a stage, between two reports

std::string filled(std::string_view prompt, std::string_view current) {
  std::string text;
  for (;;) {
    const std::size_t at = prompt.find(kCurrent);
    text += prompt.substr(0, at);
    if (at == std::string_view::npos) return text;
    text += current;
    prompt.remove_prefix(at + kCurrent.size());
  }
}

/// Lowers the options to what the model can do after a prompt of `prompt` tokens.
void limit(FittedPrompt& fitted, std::int64_t prompt, std::int64_t most) {
  GenerationConfig& config = fitted.generation;
  const std::int64_t wanted = length_limit(config, prompt);
  const auto length = static_cast<int>(std::min(wanted, most));
  const int room = length - static_cast<int>(prompt);
  if (wanted > most) {
    fitted.length_limited = true;
    config.max_new_tokens = room;
    config.min_length = std::min(config.min_length, length);
  }
  if (config.min_new_tokens) config.min_new_tokens = std::min(*config.min_new_tokens, room);
}

double mean_likelihood(const Caption& caption) {
  double sum = 0;
  for (const CaptionToken& token : caption.tokens) sum += double{token.logprob};
  return caption.tokens.empty() ? 0 : std::exp(sum / static_cast<double>(caption.tokens.size()));
}

}  // namespace

FittedPrompt fit_prompt(const DescriptionModel& model, const PromptToRun& prompt,
                        std::string_view current, int least_new_tokens) {
  FittedPrompt fitted{"", *prompt.generation};
  const auto most = static_cast<std::int64_t>(model.most_tokens);
  const std::vector<std::string_view> words = words_of(current);
  const bool holds_current = prompt.text.find(kCurrent) != std::string_view::npos && !words.empty();
  const std::int64_t least =
      holds_current
          ? std::min(least_new_tokens, prompt.generation->max_new_tokens.value_or(least_new_tokens))
          : 1;
  std::int64_t tokens = 0;
  const auto fits = [&](std::size_t count) {
    const char* end =
        count == 0 ? current.data() : words[count - 1].data() + words[count - 1].size();
    fitted.text = filled(prompt.text, {current.data(), end});
    tokens = static_cast<std::int64_t>(model.prompt_tokens(fitted.text));
    return std::min(length_limit(*prompt.generation, tokens), most) - tokens >= least;
  };
  std::size_t count = words.size();
  if (!fits(count)) {
    std::size_t most_words = 0;  // that fit; as many as `count` do not
    while (holds_current && most_words + 1 < count) {
      const std::size_t middle = most_words + (count - most_words) / 2;
      (fits(middle) ? most_words : count) = middle;
    }
    fitted.skipped = most_words == 0;
    fitted.shortened = !fitted.skipped;
    fits(fitted.skipped ? words.size() : most_words);
  }
  if (!fitted.skipped) limit(fitted, tokens, most);
  return fitted;
}

std::vector<GeneratedText> DescriptionRun::run(DescriptionStage stage, int round,
                                               std::span<const PromptToRun> prompts,
                                               const std::string& current, int least_new_tokens) {
  DescriptionProgress progress{stage, round, rounds_, 0, prompts.size(), current};
  if (!prompts.empty()) progress.prompt = prompts.front().text;
  report(progress);
  std::vector<CaptionRequest> requests;
  std::vector<CaptionOptions> options;
  std::vector<std::size_t> places;          // in the record, of each request
  std::vector<std::string_view> as_recipe;  // the prompt of each request
  for (const PromptToRun& prompt : prompts) {
    FittedPrompt fitted = fit_prompt(setting_.model, prompt, current, least_new_tokens);
    fitted.generation.seed = stream_seed(setting_.options.seed, streams_++);
    if (!fitted.skipped) {
      requests.push_back({setting_.request.image, fitted.text});
      options.emplace_back().generation = fitted.generation;
      places.push_back(result_.prompts.size());
      as_recipe.push_back(prompt.text);
    }
    result_.length_limited = result_.length_limited || fitted.length_limited;
    result_.prompts.push_back(
        {stage, round, std::move(fitted.text), {}, fitted.shortened, fitted.skipped});
  }
  std::vector<GeneratedText> texts;
  if (requests.empty()) return texts;
  const auto captions = setting_.model.caption(requests, options, setting_.context,
                                               watch(progress, std::move(as_recipe)));
  if (captions.size() != requests.size())
    throw Error(ErrorCode::internal, "each prompt must give captions, but some gave none");
  for (std::size_t i = 0; i < captions.size(); ++i) {
    for (const Caption& caption : captions[i]) {
      texts.push_back(
          {clean_text(caption.text, leading_), mean_likelihood(caption), caption.finished});
      result_.prompts[places[i]].texts.push_back(texts.back().text);
    }
  }
  return texts;
}

WritingListener DescriptionRun::watch(DescriptionProgress progress,
                                      std::vector<std::string_view> prompts) const {
  if (!setting_.listener) return {};
  const std::size_t skipped = progress.of - prompts.size();
  return [this, progress, prompts = std::move(prompts),
          skipped](std::span<const double> shares) mutable {
    const auto written = [](double share) { return share >= 1; };
    const auto first = std::ranges::find_if_not(shares, written);
    if (first == shares.end()) return;  // the end of the stage says more
    const auto done = skipped + static_cast<std::size_t>(std::ranges::count_if(shares, written));
    const double sum = std::accumulate(shares.begin(), shares.end(), static_cast<double>(skipped));
    const double share = sum / static_cast<double>(progress.of);
    if (done == progress.done && share < progress.share + kShareStep) return;
    progress.done = done;
    progress.share = share;
    progress.prompt = prompts[static_cast<std::size_t>(first - shares.begin())];
    report(progress);
  };
}

void DescriptionRun::report(DescriptionProgress progress) const {
  progress.rounds = rounds_;
  if (setting_.listener) setting_.listener(progress);
}

}  // namespace blip
