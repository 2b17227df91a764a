#include "blip/tasks/vqa.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "blip/base/error.h"
#include "blip/checkpoint/checkpoint.h"
#include "blip/model/blip.h"
#include "blip/tasks/answer_ranking.h"
#include "blip/tasks/encoded_questions.h"
#include "blip/tasks/text_generation.h"

namespace blip {
namespace {

GenerationRequest request_for(const TextConfig& text, const AnswerOptions& options) {
  return {{text.bos_token_id}, options.generation, text.sep_token_id};
}

Answer to_answer(const Tokenizer& tokenizer, const Hypothesis& hypothesis,
                 const AnswerOptions& options) {
  Answer answer;
  answer.text = tokenizer.decode(hypothesis.ids, {true, options.clean_up_tokenization_spaces});
  answer.tokens = tokens_of(hypothesis, tokenizer);
  double log_probability = 0;
  for (const float logprob : hypothesis.token_logprobs) log_probability += double{logprob};
  answer.probability = std::exp(log_probability);
  answer.score = hypothesis.score;
  answer.finished = hypothesis.finished;
  return answer;
}

}  // namespace

QuestionAnswerer::QuestionAnswerer(Engine engine) : engine_(std::move(engine)) {
  const Architecture architecture = engine_.model().config().architecture;
  if (architecture != Architecture::question_answering) {
    throw Error(ErrorCode::unsupported,
                "this checkpoint is made for " + std::string(name(architecture)) +
                    " and cannot answer questions; blip-vqa-base and the authors' "
                    "model_base_vqa_capfilt_large.pth can");
  }
}

AnswerOptions QuestionAnswerer::default_options() const {
  AnswerOptions options;
  options.generation = engine_.default_generation();
  if (engine_.checkpoint().family == CheckpointFamily::authors) {
    options.generation.num_beams = 3;
    options.generation.max_length = 10;
    options.generation.min_length = 1;
    options.generation.semantics = BeamSemantics::authors;
    options.clean_up_tokenization_spaces = true;
  }
  return options;
}

void QuestionAnswerer::validate(const AnswerOptions& options) const {
  const TextConfig& text = engine_.model().config().text;
  validate_generation(request_for(text, options), text);
}

void QuestionAnswerer::validate(std::span<const std::string> questions,
                                const QuestionOptions& options) const {
  for (const std::string& question : questions) encode_question(engine_, question, options);
}

std::vector<Answers> QuestionAnswerer::answer(std::span<const Question> questions,
                                              const AnswerOptions& options,
                                              const Context& context) const {
  const EncodedQuestions encoded = encode_questions(engine_, questions, options.question, context);
  std::vector<const CrossKeysValues*> sources;
  for (const CrossKeysValues& states : encoded.states) sources.push_back(&states);
  const TextDecoder& decoder = engine_.model().text_decoder();
  const std::vector<GenerationRequest> requests(questions.size(),
                                                request_for(decoder.config(), options));
  const auto found = generate_texts(decoder, requests, sources, context);
  std::vector<Answers> all;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    Answers& answers = all.emplace_back();
    answers.truncated = encoded.truncated[i];
    for (const Hypothesis& hypothesis : found[i])
      answers.answers.push_back(to_answer(engine_.tokenizer(), hypothesis, options));
  }
  return all;
}

AnswerList QuestionAnswerer::encode_answers(std::span<const std::string> answers) const {
  if (answers.empty()) {
    throw Error(ErrorCode::usage, "a list of answers must have at least 1, but is empty");
  }
  // [DEC] goes before the answer; [SEP] after it is never fed back.
  const auto longest =
      static_cast<std::size_t>(engine_.model().config().text.max_position_embeddings) - 1;
  AnswerList list;
  std::set<std::vector<int>> known;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    std::vector<int> ids = engine_.tokenizer().encode_plain(answers[i]);
    if (ids.empty() || ids.size() > longest) {
      throw Error(ErrorCode::usage, "answer " + std::to_string(i + 1) + " of the list, " +
                                        in_quotes(answers[i]) + ", must have 1 to " +
                                        std::to_string(longest) + " tokens, but has " +
                                        std::to_string(ids.size()));
    }
    if (known.insert(ids).second) list.entries.push_back({answers[i], std::move(ids), i});
  }
  return list;
}

std::vector<Answers> QuestionAnswerer::rank(std::span<const Question> questions,
                                            const AnswerList& list, const RankOptions& options,
                                            const Context& context) const {
  const AnswerRanking ranking(engine_.model().text_decoder(), engine_.tokenizer(), list, options);
  const EncodedQuestions encoded = encode_questions(engine_, questions, options.question, context);
  std::vector<Answers> all;
  for (std::size_t i = 0; i < questions.size(); ++i)
    all.push_back({ranking.rank(encoded.states[i], context), encoded.truncated[i]});
  return all;
}

}  // namespace blip
