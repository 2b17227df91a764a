#pragma once

// For tests: a model that says what a script has for a prompt.

#include <functional>
#include <string>
#include <vector>

#include "blip/tasks/description.h"
#include "blip/tasks/description_text.h"

namespace blip {

struct ScriptedModel {
  /// What each prompt gives; the generated text holds the prompt, as transformers' does.
  std::function<std::string(const std::string& prompt)> text;
  std::size_t most_tokens = 10000;  ///< a token is a word, and [DEC]
  /// Told the listener of a call, if there is one.
  std::function<void(const WritingListener&)> watched = [](const WritingListener&) {};

  struct Call {
    std::vector<std::string> prompts;
    std::vector<GenerationConfig> generation;
  };
  std::vector<Call> calls;

  /// Refers to the script, which must outlive it.
  Describer describer() {
    DescriptionModel model;
    model.caption = [this](std::span<const CaptionRequest> requests,
                           std::span<const CaptionOptions> options, const Context& context,
                           const WritingListener& listener) {
      context.check_stop();
      Call& call = calls.emplace_back();
      if (listener) watched(listener);
      std::vector<std::vector<Caption>> captions;
      for (std::size_t i = 0; i < requests.size(); ++i) {
        call.prompts.push_back(requests[i].prompt);
        call.generation.push_back(options[i].generation);
        Caption caption;
        caption.text = text(requests[i].prompt);
        caption.finished = true;
        captions.push_back({caption});
      }
      return captions;
    };
    model.prompt_tokens = [](const std::string& prompt) { return count_words(prompt) + 1; };
    model.most_tokens = most_tokens;
    return Describer(std::move(model));
  }

  Description describe(const DescriptionOptions& options = {}) {
    return describer().describe({}, options);
  }
};

}  // namespace blip
