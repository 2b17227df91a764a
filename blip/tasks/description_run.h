#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "blip/tasks/description.h"
#include "blip/tasks/description_text.h"

namespace blip {

/// A prompt of a recipe, and how it is run.
struct PromptToRun {
  std::string_view text;  ///< "{current}" stands for the text so far
  const GenerationConfig* generation;
};

/// A prompt made ready for a model of limited length.
struct FittedPrompt {
  std::string text;
  GenerationConfig generation;
  bool shortened = false;       ///< the text so far was cut after a word
  bool skipped = false;         ///< not even so is there room
  bool length_limited = false;  ///< fewer tokens than the options ask for
};

/// Puts `current` into the prompt, as much of its start as leaves room for `least_new_tokens` (or
/// as many as the options want, when fewer), and lowers the options to the model's positions.
FittedPrompt fit_prompt(const DescriptionModel& model, const PromptToRun& prompt,
                        std::string_view current, int least_new_tokens);

/// What a prompt gave.
struct GeneratedText {
  std::string text;       ///< cleaned
  double likelihood = 0;  ///< exp of the mean log-probability of its tokens
  bool finished = false;  ///< ended by itself
};

/// What both recipes do: run prompts in batches, keep the record, tell the listener.
class DescriptionRun {
 public:
  /// What it is given has to outlive it.
  struct Setting {
    const DescriptionModel& model;
    const DescriptionRequest& request;
    const DescriptionOptions& options;
    const DescriptionListener& listener;
    const Context& context;
  };
  DescriptionRun(const Setting& setting, LeadingParts leading, int rounds)
      : setting_(setting), leading_(std::move(leading)), rounds_(rounds) {}

  /// Runs the prompts in one call and returns what they gave, in order; none for those that were
  /// too long. `least_new_tokens` as in fit_prompt().
  std::vector<GeneratedText> run(DescriptionStage stage, int round,
                                 std::span<const PromptToRun> prompts, const std::string& current,
                                 int least_new_tokens);
  /// Tells the listener, with the number of rounds.
  void report(DescriptionProgress progress) const;

  const Setting& setting() const { return setting_; }
  Description& result() { return result_; }

 private:
  /// Reports what changes while the requests of a call are written; `prompts` are theirs.
  WritingListener watch(DescriptionProgress progress, std::vector<std::string_view> prompts) const;

  Setting setting_;
  LeadingParts leading_;
  int rounds_;
  std::uint64_t streams_ = 0;  ///< of random numbers that prompts took
  Description result_;
};

/// The two recipes. Throw Error{usage, cancelled}.
Description describe_classic(const DescriptionRun::Setting& setting);
Description describe_faithful(const DescriptionRun::Setting& setting);

}  // namespace blip
