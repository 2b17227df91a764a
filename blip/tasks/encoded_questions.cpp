#include "blip/tasks/encoded_questions.h"

#include <algorithm>

#include "blip/model/blip.h"
#include "blip/tasks/encoded_image.h"

namespace blip {

EncodedText encode_question(const Engine& engine, const std::string& question,
                            const QuestionOptions& options) {
  return encode_text(engine, question, "question", options.first_token, options.max_length);
}

EncodedQuestions encode_questions(const Engine& engine, std::span<const Question> questions,
                                  const QuestionOptions& options, const Context& context) {
  const BlipModel& model = engine.model();
  EncodedQuestions encoded;
  std::vector<EncodedText> texts;
  std::size_t longest = 0;
  for (const Question& question : questions) {
    texts.push_back(encode_question(engine, question.text, options));
    encoded.truncated.push_back(texts.back().truncated);
    longest = std::max(longest, texts.back().ids.size());
  }
  std::vector<EncoderText> inputs;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    std::vector<int>& ids = texts[i].ids;
    const std::size_t padding = options.reference_mask ? longest - ids.size() : 0;
    ids.resize(ids.size() + padding, model.config().text.pad_token_id);
    inputs.push_back({ids, &data_of(questions[i].image, engine).for_encoder(context), padding});
  }
  // Texts are written from these states: as for captions, neighbours must not change one bit.
  encode_each(model.text_encoder(), inputs, Batching::same_bits, context,
              [&](std::size_t i, std::span<const float> hidden) {
                encoded.states.push_back(
                    model.text_decoder().attend_to(hidden, inputs[i].tokens.size(), context));
              });
  return encoded;
}

}  // namespace blip
