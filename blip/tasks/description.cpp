#include "blip/tasks/description.h"

#include <algorithm>
#include <initializer_list>

#include "blip/base/error.h"
#include "blip/model/blip.h"
#include "blip/tasks/description_run.h"
#include "blip/tasks/matching.h"
#include "blip/tokenizer/unicode.h"

namespace blip {
namespace {

constexpr std::size_t kMostPrompts = 64;      // of a stage: they run as one batch
constexpr int kMostOfDetail = 100;            // rounds or sentences
constexpr int kMostWords = 1'000'000;         // and of any other length
constexpr std::size_t kMostPolished = 16384;  // bytes

void require(bool holds, const std::string& sentence) {
  if (!holds) throw Error(ErrorCode::usage, sentence);
}

void check_prompts(const char* stage, const std::vector<std::string>& prompts) {
  require(prompts.size() <= kMostPrompts, std::string(stage) + " must have at most " +
                                              std::to_string(kMostPrompts) + " prompts, but has " +
                                              std::to_string(prompts.size()));
}

void check_detail(const char* field, const ByDetail& numbers) {
  for (const int number : {numbers.high, numbers.medium, numbers.low, numbers.off}) {
    require(number >= 1 && number <= kMostOfDetail,
            std::string(field) + " must be from 1 to 100, but one is " + std::to_string(number));
  }
}

void check(const ClassicOptions& options) {
  for_each_field(options, [](const char* name, const auto& field) {
    using T = std::decay_t<decltype(field)>;
    if constexpr (std::is_same_v<T, PromptStage>) {
      check_prompts(name, field.prompts);
      validate(field.generation);
    } else if constexpr (std::is_same_v<T, ByDetail>) {
      check_detail(name, field);
    } else if constexpr (std::is_same_v<T, int>) {
      require(field >= 0 && field <= kMostWords,
              std::string(name) + " must be from 0 to 1000000, but is " + std::to_string(field));
    }
  });
}

void check(const FaithfulOptions& options) {
  check_prompts("prompts", options.prompts);
  validate(options.beams);
  validate(options.samples);
  check_detail("sentences", options.sentences);
  for (const double share : {options.least_share, options.same_share})
    require(share >= 0 && share <= 1, "least_share and same_share must be from 0 to 1");
}

bool any_fits(const DescriptionModel& model, const std::vector<std::string>& prompts,
              const GenerationConfig& generation) {
  return std::ranges::any_of(prompts, [&](const std::string& prompt) {
    return !fit_prompt(model, {prompt, &generation}, "", 1).skipped;
  });
}

std::vector<double> by_itm(const std::vector<Match>& matches) {
  std::vector<double> confidences;
  for (const Match& match : matches) confidences.push_back(match.itm_probability);
  return confidences;
}

std::vector<double> by_itc(const std::vector<Match>& matches) {
  std::vector<double> confidences;
  for (const Match& match : matches)
    confidences.push_back(std::clamp(match.itc_similarity, 0.0, 1.0));
  return confidences;
}

bool is_plain(std::string_view text) {
  if (text.empty() || text.size() > kMostPolished || !is_utf8(text)) return false;
  while (!text.empty()) {
    const char32_t c = take_char(text);
    if (c < ' ' || (c >= 0x7F && c < 0xA0)) return false;  // control characters
  }
  return true;
}

}  // namespace

std::string_view name(DescriptionStage stage) noexcept {
  constexpr std::string_view kNames[] = {"prompts", "extending", "round", "scoring"};
  return kNames[static_cast<int>(stage)];
}

std::string_view name(ConfidenceKind kind) noexcept {
  constexpr std::string_view kNames[] = {"itm", "itc", "likelihood"};
  return kNames[static_cast<int>(kind)];
}

Judge judge_by(const Engine& engine, const EncodedImage& image) {
  MatchOptions options;
  options.itm = engine.model().has_itm_head();
  options.itc = !options.itm && engine.model().has_itc_heads();
  options.max_length = 0;
  if (!options.itm && !options.itc) return {};
  return {options.itm ? ConfidenceKind::itm : ConfidenceKind::itc,
          [matcher = Matcher(engine), image, options](std::span<const std::string> texts,
                                                      const Context& context) {
            const std::vector<MatchText> ready = matcher.encode(texts, options, context);
            const std::vector<Match> matches = matcher.match(image, ready, context);
            return options.itm ? by_itm(matches) : by_itc(matches);
          }};
}

DescriptionModel description_model(const Captioner& captioner) {
  return {
      [captioner](std::span<const CaptionRequest> requests, std::span<const CaptionOptions> options,
                  const Context& context, const WritingListener& listener) {
        return captioner.caption(requests, options, context, listener);
      },
      [captioner](const std::string& prompt) { return captioner.prompt_tokens(prompt); },
      captioner.most_tokens(),
      [engine = captioner.engine()](const EncodedImage& image) { return judge_by(engine, image); }};
}

bool Description::prompt_shortened() const {
  return std::ranges::any_of(
      prompts, [](const DescriptionPrompt& prompt) { return prompt.shortened || prompt.skipped; });
}

void Describer::validate(const DescriptionOptions& options) const {
  const bool classic = options.recipe == DescriptionRecipe::classic;
  bool fits = false;
  if (classic) {
    check(options.classic);
    const PromptStage& stage = options.classic.describe;
    fits = any_fits(model_, stage.prompts, stage.generation);
  } else {
    check(options.faithful);
    fits = any_fits(model_, options.faithful.prompts, options.faithful.beams) ||
           any_fits(model_, options.faithful.prompts, options.faithful.samples);
  }
  require(fits, "none of the " + std::string(classic ? "classic" : "faithful") +
                    " recipe's first prompts leaves room for a token, with its max_length and the "
                    "model's limit of " +
                    std::to_string(model_.most_tokens) + " tokens");
}

Description Describer::describe(const DescriptionRequest& request,
                                const DescriptionOptions& options,
                                const DescriptionListener& listener, const Context& context) const {
  validate(options);
  context.check_stop();
  const DescriptionRun::Setting setting{model_, request, options, listener, context};
  return options.recipe == DescriptionRecipe::classic ? describe_classic(setting)
                                                      : describe_faithful(setting);
}

void polish(Description& description, const PolishFunction& polisher) {
  try {
    std::string text = single_spaced(polisher(description.text));
    if (!is_plain(text)) {
      throw Error(ErrorCode::io,
                  "the polished text must be plain text of at most 16 KiB, but it is " +
                      (text.empty() ? "empty" : in_quotes(text)));
    }
    description.unpolished = std::exchange(description.text, std::move(text));
    description.polish_error.clear();
  } catch (const Error& e) {
    if (e.code() == ErrorCode::cancelled) throw;
    description.polish_error = e.what();
  }
}

}  // namespace blip
