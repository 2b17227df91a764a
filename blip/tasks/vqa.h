#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/export.h"
#include "blip/generation/generation_config.h"
#include "blip/tasks/captioning.h"
#include "blip/tasks/engine.h"
#include "blip/tasks/first_token.h"

namespace blip {

/// A question about a picture.
struct Question {
  EncodedImage image;
  std::string text;
};

/// How questions are read.
struct QuestionOptions {
  FirstToken first_token = FirstToken::checkpoint;
  /// Longer questions are cut to so many tokens, [ENC] and [SEP] among them; 0: the model's
  /// positions. 35 is what the authors take.
  int max_length = 35;
  /// Let the decoder see the padding that the questions of a call would have in one batch of the
  /// reference, whose generate() masks none of it. Answers then depend on their neighbours.
  bool reference_mask = false;
};

struct AnswerOptions {
  QuestionOptions question;
  GenerationConfig generation;
  /// As CaptionOptions has it.
  bool clean_up_tokenization_spaces = false;
};

struct RankOptions {
  QuestionOptions question;
  /// So many answers whose first token is the most probable are scored whole: the paper's k.
  int top_k = 128;
  /// Of the training loss, which the authors rank by. 0: the plain likelihood.
  double label_smoothing = 0.1;
};

struct Answer {
  std::string text;
  /// Of this answer among all texts, its end included, given the picture and the question.
  double probability = 0;
  /// What answers are ordered by. Generated: as Caption::score. Ranked: minus the loss.
  double score = 0;
  std::vector<CaptionToken> tokens;  ///< [SEP] among them where the answer ended by itself
  bool finished = true;              ///< ended by itself, not at the length limit
  std::size_t index = 0;             ///< ranked: place in the list that was given
};

struct Answers {
  std::vector<Answer> answers;  ///< best first
  bool truncated = false;       ///< the question was cut
};

/// Candidate answers, tokenised once for all questions.
struct AnswerList {
  struct Entry {
    std::string text;
    std::vector<int> ids;  ///< without [DEC] and [SEP]; at least one
    std::size_t index;     ///< place in the list that was given
  };
  std::vector<Entry> entries;  ///< in order; of entries with the same tokens the first
};

/// Answers to questions about pictures (paper section 5.3): the image-grounded text encoder reads
/// the question, the decoder looks at what it made of it. Questions are never padded, so an answer
/// is the same whatever others are asked beside it (unless reference_mask asks otherwise).
class BLIP_API QuestionAnswerer {
 public:
  /// Throws Error{unsupported} for a checkpoint that is not made for it.
  explicit QuestionAnswerer(Engine engine);

  /// The authors' settings for their checkpoints: 3 beams, at most 10 tokens with [DEC], their
  /// length normalisation, spaces cleaned up. Else the checkpoint's own, over transformers'.
  AnswerOptions default_options() const;
  /// Throw Error{usage} for what answer() and rank() would refuse.
  void validate(const AnswerOptions& options) const;
  void validate(std::span<const std::string> questions, const QuestionOptions& options) const;

  /// num_return_sequences answers to each question. Throws Error{usage} also for a question without
  /// words; Error{cancelled}.
  std::vector<Answers> answer(std::span<const Question> questions, const AnswerOptions& options,
                              const Context& context = {}) const;

  /// Throws Error{usage} for an empty list, and for an answer without words or longer than the
  /// model's positions.
  AnswerList encode_answers(std::span<const std::string> answers) const;
  /// For each question top_k answers of the list (or all, when it has fewer) by their likelihood.
  /// Throws Error{usage, cancelled}.
  std::vector<Answers> rank(std::span<const Question> questions, const AnswerList& list,
                            const RankOptions& options = {}, const Context& context = {}) const;

  const Engine& engine() const { return engine_; }

 private:
  Engine engine_;
};

}  // namespace blip
