#include "blip/generation/logits_processor.h"

#include <algorithm>

namespace blip {
namespace {

bool in_range(int id, std::span<const float> scores) {
  return id >= 0 && static_cast<std::size_t>(id) < scores.size();
}

float& at(std::span<float> scores, int id) {
  return scores[static_cast<std::size_t>(id)];
}

void rule_out(int id, std::span<float> scores) {
  if (in_range(id, scores)) at(scores, id) = kRuledOut;
}

void penalize_repetition(float penalty, std::span<const int> ids, std::span<float> scores) {
  // All are read before any is written, so that an id seen twice is penalized once.
  thread_local std::vector<float> penalized;
  penalized.resize(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (!in_range(ids[i], scores)) continue;
    const float score = at(scores, ids[i]);
    penalized[i] = score < 0 ? score * penalty : score / penalty;
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (in_range(ids[i], scores)) at(scores, ids[i]) = penalized[i];
  }
}

void forbid_repeated_ngrams(std::size_t n, std::span<const int> ids, std::span<float> scores) {
  if (ids.size() < n) return;
  const std::span<const int> suffix = ids.last(n - 1);
  for (std::size_t i = 0; i + n <= ids.size(); ++i) {
    if (std::ranges::equal(ids.subspan(i, n - 1), suffix)) rule_out(ids[i + n - 1], scores);
  }
}

void forbid_bad_words(const GenerationConfig& config, const SequenceState& state,
                      std::span<float> scores) {
  for (const std::vector<int>& word : config.bad_words_ids) {
    if (word.empty() || word.size() - 1 > state.ids.size()) continue;
    // Forbidding [SEP] itself would only run every sequence into its length limit.
    if (word.size() == 1 && word.front() == state.eos_id) continue;
    const std::span<const int> before(word.data(), word.size() - 1);
    if (std::ranges::equal(state.ids.last(before.size()), before)) rule_out(word.back(), scores);
  }
}

bool too_short_to_end(const GenerationConfig& config, const SequenceState& state) {
  const int length = static_cast<int>(state.ids.size());
  if (config.min_new_tokens) return length - state.prompt_length < *config.min_new_tokens;
  return length < config.min_length;
}

void force(int id, std::span<float> scores) {
  const float kept = in_range(id, scores) ? at(scores, id) : kRuledOut;
  std::ranges::fill(scores, kRuledOut);
  if (in_range(id, scores)) at(scores, id) = kept;
}

}  // namespace

void process_logits(const GenerationConfig& config, const SequenceState& state,
                    std::span<float> scores) {
  const std::size_t new_tokens = state.ids.size() - static_cast<std::size_t>(state.prompt_length);
  if (new_tokens < config.forced_prefix_ids.size()) {
    force(config.forced_prefix_ids[new_tokens], scores);
    return;
  }
  if (config.repetition_penalty != 1.0) {
    penalize_repetition(static_cast<float>(config.repetition_penalty), state.ids, scores);
  }
  if (config.no_repeat_ngram_size > 0) {
    forbid_repeated_ngrams(static_cast<std::size_t>(config.no_repeat_ngram_size), state.ids,
                           scores);
  }
  forbid_bad_words(config, state, scores);
  if (too_short_to_end(config, state)) rule_out(state.eos_id, scores);
}

}  // namespace blip
