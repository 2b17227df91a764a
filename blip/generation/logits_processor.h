#pragma once

#include <limits>
#include <span>

#include "blip/generation/generation_config.h"

namespace blip {

/// The score of a token that must not come next.
inline constexpr float kRuledOut = -std::numeric_limits<float>::infinity();

/// What a processor may know about the sequence whose next token is being chosen.
struct SequenceState {
  std::span<const int> ids;  ///< whole sequence so far, prompt and [DEC] included
  int prompt_length = 0;
  int eos_id = 102;
};

/// The scores of one sequence's next token are changed in place, in transformers' order:
/// repetition_penalty, no_repeat_ngram_size, bad_words_ids, min_length or min_new_tokens. Tokens
/// ruled out become kRuledOut. While forced_prefix_ids last, the forced token keeps its score, all
/// others become kRuledOut, and nothing else applies. Ids beyond `scores` are ignored.
/// `scores` are raw logits in greedy search and sampling, log-probabilities in beam search.
void process_logits(const GenerationConfig& config, const SequenceState& state,
                    std::span<float> scores);

}  // namespace blip
