#pragma once

#include <torch/torch.h>

#include "train/model/med.h"

namespace blip::train {

/// What a decoder learns to write.
struct Targets {
  torch::Tensor ids;   ///< [B, T]: what follows each token is its target
  torch::Tensor mask;  ///< [B, T], 1 where the token is a target of the one before it
};

/// The image-grounded text decoder with its language-modelling head.
class TextDecoder {
 public:
  /// Makes "text_decoder.*". The head's matrix is the word embedding.
  TextDecoder(const TaskOptions& options, Parameters& parameters, int cross_width);

  Sight attend_to(const torch::Tensor& states) const { return med_.project(states); }

  /// Logits [B, T, V] after every token: for tests and comparisons.
  torch::Tensor logits(const Texts& texts, const Sight& sight, bool training,
                       const Probe& probe = {}) const;

  /// Losses with label smoothing of the targets, one after the other in the order of the rows:
  /// values [n] f32, and which row each belongs to [n] i64. The head sees no other token.
  struct TokenLosses {
    torch::Tensor values, rows;
  };
  TokenLosses losses(const Texts& texts, const Targets& targets, const Sight& sight,
                     bool training) const;

 private:
  torch::Tensor head(const torch::Tensor& hidden) const;

  Med med_;
  double label_smoothing_;
  Linear transform_;          // cls.predictions.transform.dense
  LayerNorm transform_norm_;  // cls.predictions.transform.LayerNorm
  torch::Tensor bias_;        // cls.predictions.bias
};

/// The mean of token losses over all ranks' tokens, scaled so that the mean over ranks is that of
/// the whole batch whatever the ranks' numbers of tokens are.
torch::Tensor mean_over_tokens(const torch::Tensor& values, Communicator& communicator);

}  // namespace blip::train
