#pragma once

#include <span>
#include <string>
#include <vector>

#include "blip/model/key_value_cache.h"
#include "blip/tasks/text_input.h"
#include "blip/tasks/vqa.h"

namespace blip {

/// Questions after the text encoder: what the decoder looks at to answer them.
struct EncodedQuestions {
  std::vector<CrossKeysValues> states;
  std::vector<bool> truncated;
};

/// Throws as encode_text().
EncodedText encode_question(const Engine& engine, const std::string& question,
                            const QuestionOptions& options);

/// Throws Error{cancelled} and as encode_text().
EncodedQuestions encode_questions(const Engine& engine, std::span<const Question> questions,
                                  const QuestionOptions& options, const Context& context);

}  // namespace blip
