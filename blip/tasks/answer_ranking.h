#pragma once

#include <span>
#include <vector>

#include "blip/model/text_decoder.h"
#include "blip/tasks/vqa.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip {

/// Orders a list of answers by their likelihood (paper section 5.3): the answers whose first token
/// is the most probable after [DEC] are scored whole. Refers to its arguments.
class AnswerRanking {
 public:
  /// Throws Error{usage} for options out of range, and for a list that is not of this model.
  AnswerRanking(const TextDecoder& decoder, const Tokenizer& tokenizer, const AnswerList& list,
                const RankOptions& options);

  /// Of one question, given its states' keys and values; best first. Throws Error{cancelled},
  /// Error{bad_model} for NaN or infinite logits.
  std::vector<Answer> rank(const CrossKeysValues& question, const Context& context) const;

 private:
  class NextToken;

  /// Entries of the list whose first tokens are the most probable; of equal ones the first.
  std::vector<std::size_t> best_starts(std::span<const float> logits) const;
  /// `logits` [tokens of the entry, V]: what follows each of them.
  Answer score(const AnswerList::Entry& entry, const NextToken& start,
               std::span<const float> logits) const;
  void append(Answer& answer, const NextToken& next, int id) const;

  const TextDecoder& decoder_;
  const Tokenizer& tokenizer_;
  const AnswerList& list_;
  const RankOptions& options_;
};

}  // namespace blip
