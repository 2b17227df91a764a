#include "blip/generation/generation_config.h"

#include <cmath>
#include <sstream>

#include "blip/base/error.h"

namespace blip {
namespace {

// Far above any use; keeps a request from asking for absurd amounts of memory.
constexpr int kMaxBeams = 256;
constexpr double kMaxLengthPenalty = 10;

template <class Value>
void require(bool holds, const char* field, const char* expected, const Value& value) {
  if (holds) return;
  std::ostringstream message;
  message << field << " must be " << expected << ", but is " << value;
  throw Error(ErrorCode::usage, message.str());
}

void validate_lengths(const GenerationConfig& c) {
  require(c.max_length.value_or(1) >= 1, "max_length", "at least 1", c.max_length.value_or(1));
  require(c.max_new_tokens.value_or(1) >= 1, "max_new_tokens", "at least 1",
          c.max_new_tokens.value_or(1));
  require(c.min_length >= 0, "min_length", "at least 0", c.min_length);
  require(c.min_new_tokens.value_or(0) >= 0, "min_new_tokens", "at least 0",
          c.min_new_tokens.value_or(0));
  if (c.max_new_tokens && c.min_new_tokens) {
    require(*c.min_new_tokens <= *c.max_new_tokens, "min_new_tokens", "at most max_new_tokens",
            *c.min_new_tokens);
  }
  if (c.max_length && !c.max_new_tokens && !c.min_new_tokens) {
    require(c.min_length <= *c.max_length, "min_length", "at most max_length", c.min_length);
  }
}

void validate_beams(const GenerationConfig& c) {
  const int returned = c.num_return_sequences;
  require(c.num_beams >= 1 && c.num_beams <= kMaxBeams, "num_beams", "from 1 to 256", c.num_beams);
  require(returned >= 1 && returned <= kMaxBeams, "num_return_sequences", "from 1 to 256",
          returned);
  require(c.num_beams == 1 || returned <= c.num_beams, "num_return_sequences", "at most num_beams",
          returned);
  require(c.num_beams > 1 || c.do_sample || returned == 1, "num_return_sequences",
          "1 without beams and sampling, as greedy search has one result", returned);
  require(std::abs(c.length_penalty) <= kMaxLengthPenalty, "length_penalty", "from -10 to 10",
          c.length_penalty);
}

void validate_sampling(const GenerationConfig& c) {
  require(c.temperature >= 1e-6 && c.temperature <= 1e6, "temperature", "from 1e-6 to 1e6",
          c.temperature);
  require(c.top_k >= 0, "top_k", "at least 0", c.top_k);
  require(c.top_p >= 0 && c.top_p <= 1, "top_p", "from 0 to 1", c.top_p);
  require(c.min_p >= 0 && c.min_p <= 1, "min_p", "from 0 to 1", c.min_p);
  require(c.typical_p > 0 && c.typical_p <= 1, "typical_p", "above 0 and at most 1", c.typical_p);
  require(c.epsilon_cutoff >= 0 && c.epsilon_cutoff < 1, "epsilon_cutoff", "at least 0 and below 1",
          c.epsilon_cutoff);
  require(c.eta_cutoff >= 0 && c.eta_cutoff < 1, "eta_cutoff", "at least 0 and below 1",
          c.eta_cutoff);
}

void validate_words(const GenerationConfig& c) {
  for (const std::vector<int>& word : c.bad_words_ids) {
    require(!word.empty(), "bad_words_ids", "made of words of at least 1 token",
            "given an empty one");
    for (const int id : word) require(id >= 0, "bad_words_ids", "made of ids of at least 0", id);
  }
  for (const int id : c.forced_prefix_ids) {
    require(id >= 0, "forced_prefix_ids", "made of ids of at least 0", id);
  }
}

}  // namespace

void validate(const GenerationConfig& config) {
  validate_lengths(config);
  validate_beams(config);
  if (config.do_sample) validate_sampling(config);
  require(config.repetition_penalty >= 0.01 && config.repetition_penalty <= 100,
          "repetition_penalty", "from 0.01 to 100", config.repetition_penalty);
  require(config.no_repeat_ngram_size >= 0, "no_repeat_ngram_size", "at least 0",
          config.no_repeat_ngram_size);
  validate_words(config);
}

}  // namespace blip
