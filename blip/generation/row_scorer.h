#pragma once

#include <span>
#include <vector>

#include "blip/generation/logits_processor.h"
#include "blip/generation/logits_warper.h"
#include "blip/generation/search.h"
#include "blip/generation/softmax.h"

namespace blip {

/// Makes the scores that a search chooses from out of one row of logits. Keeps its scratch.
class RowScorer {
 public:
  RowScorer(const GenerationRequest& request, int vocab_size);

  /// Processed, and when sampling warped, scores of the token after `ids`: log-probabilities with
  /// several beams, else logits. Valid until the next call; `logits` is left as it is.
  /// Throws Error{bad_model} when a logit is NaN or +inf or all are -inf.
  std::span<const float> score(std::span<const float> logits, std::span<const int> ids);

  /// Of the logits last scored, before any processing.
  const LogNormalizer& normalizer() const { return normalizer_; }

 private:
  GenerationConfig config_;
  int prompt_length_;
  int eos_id_;
  LogitsWarper warper_;
  LogNormalizer normalizer_;
  std::vector<float> scores_;
};

/// Throws Error{usage}: the options leave no token that could follow a sequence of `length` tokens.
[[noreturn]] void throw_nothing_allowed(std::size_t length);

}  // namespace blip
