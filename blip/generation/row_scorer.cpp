#include "blip/generation/row_scorer.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "blip/base/error.h"

namespace blip {

RowScorer::RowScorer(const GenerationRequest& request, int vocab_size)
    : config_(request.config),
      prompt_length_(static_cast<int>(request.prompt_ids.size())),
      eos_id_(request.eos_id),
      warper_(request.config, request.config.num_beams > 1 ? 2 : 1),
      scores_(static_cast<std::size_t>(vocab_size)) {}

std::span<const float> RowScorer::score(std::span<const float> logits, std::span<const int> ids) {
  normalizer_ = log_normalizer(logits);
  if (std::isnan(normalizer_.log_sum)) {
    throw Error(ErrorCode::bad_model,
                "the model must give finite logits, but gave NaN or infinity for the token after " +
                    std::to_string(ids.size()) + " tokens");
  }
  if (config_.num_beams > 1) {
    for (std::size_t i = 0; i < scores_.size(); ++i) scores_[i] = normalizer_.log_prob(logits[i]);
  } else {
    std::ranges::copy(logits, scores_.begin());
  }
  process_logits(config_, {ids, prompt_length_, eos_id_}, scores_);
  if (config_.do_sample) warper_.warp(scores_);
  return scores_;
}

void throw_nothing_allowed(std::size_t length) {
  throw Error(ErrorCode::usage,
              "the generation options must leave a token to choose, but forbid every one after " +
                  std::to_string(length) + " tokens");
}

}  // namespace blip
