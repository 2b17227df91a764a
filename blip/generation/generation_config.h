#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "blip/base/export.h"

namespace blip {

/// When beam search ends (transformers' `early_stopping`).
enum class EarlyStopping {
  no,     ///< false: when the best running beam can no longer improve at its present length
  yes,    ///< true: as soon as num_beams hypotheses are finished
  never,  ///< "never": only when no length allowed could improve
};

/// Whose arithmetic scores a finished beam.
enum class BeamSemantics {
  transformers_5,  ///< sum / (new tokens, [SEP] included) ** length_penalty
  authors,         ///< sum / (whole length, prompt included, [SEP] not) ** length_penalty (4.15)
};

/// How text is generated: the names, defaults and meanings of transformers 5.
struct GenerationConfig {
  std::optional<int> max_length;      ///< whole sequence, prompt and [DEC] included
  std::optional<int> max_new_tokens;  ///< wins over max_length; neither: 20 new tokens
  int min_length = 0;                 ///< whole sequence, prompt and [DEC] included
  std::optional<int> min_new_tokens;  ///< wins over min_length

  int num_beams = 1;
  bool do_sample = false;
  int num_return_sequences = 1;
  EarlyStopping early_stopping = EarlyStopping::no;
  double length_penalty = 1.0;

  double temperature = 1.0;
  int top_k = 50;
  double top_p = 1.0;
  double min_p = 0.0;
  double typical_p = 1.0;
  double epsilon_cutoff = 0.0;
  double eta_cutoff = 0.0;

  double repetition_penalty = 1.0;
  int no_repeat_ngram_size = 0;
  std::vector<std::vector<int>> bad_words_ids;  ///< token sequences that must not appear
  std::vector<int> forced_prefix_ids;           ///< the first new tokens, whatever else is asked

  std::uint64_t seed = 0;
  BeamSemantics semantics = BeamSemantics::transformers_5;
};

/// Calls `visit(name, field, help)` for every option that a number or a word can set, in the order
/// of the struct: the one list that flags, JSON keys, --help and documentation come from.
template <class Config, class Visitor>
void for_each_field(Config& c, Visitor&& visit) {
  visit("max_length", c.max_length, "most tokens in all, prompt included");
  visit("max_new_tokens", c.max_new_tokens, "most tokens after the prompt (default 20)");
  visit("min_length", c.min_length, "fewest tokens in all, prompt included");
  visit("min_new_tokens", c.min_new_tokens, "fewest tokens after the prompt");
  visit("num_beams", c.num_beams, "beams of the beam search; 1: greedy or sampling");
  visit("do_sample", c.do_sample, "draw tokens instead of taking the most probable");
  visit("num_return_sequences", c.num_return_sequences, "captions per picture");
  visit("early_stopping", c.early_stopping, "when beam search ends: true, false or never");
  visit("length_penalty", c.length_penalty, "exponent on the length in a beam's score");
  visit("temperature", c.temperature, "divides the logits when sampling");
  visit("top_k", c.top_k, "sample among this many most probable tokens; 0: all");
  visit("top_p", c.top_p, "sample among the most probable tokens that sum to this");
  visit("min_p", c.min_p, "drop tokens below this share of the best one's probability");
  visit("typical_p", c.typical_p, "locally typical sampling with this mass");
  visit("epsilon_cutoff", c.epsilon_cutoff, "drop tokens below this probability");
  visit("eta_cutoff", c.eta_cutoff, "drop tokens below an entropy-dependent probability");
  visit("repetition_penalty", c.repetition_penalty, "over 1 discourages tokens already there");
  visit("no_repeat_ngram_size", c.no_repeat_ngram_size, "no n-gram of this size twice; 0: off");
  visit("seed", c.seed, "seed of the sampling");
}

/// Throws Error{usage} naming the field for a value or a combination that makes no sense, such as
/// num_return_sequences above num_beams. What only sampling reads is checked only with do_sample.
BLIP_API void validate(const GenerationConfig& config);

}  // namespace blip
