#pragma once

#include <torch/torch.h>

namespace blip::train {

/// softmax(q k^T / sqrt(d) + mask) v: q [B, H, T, d], k and v [B, H, S, d] -> [B, T, H d].
/// `mask`, as additive_mask() makes it, is added to the scores; undefined: nothing is hidden.
/// `dropout` falls on the probabilities; 0 when not training.
torch::Tensor attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                        const torch::Tensor& mask, double dropout);

/// [B, T, H d] -> [B, H, T, d].
torch::Tensor split_heads(const torch::Tensor& x, int heads);

/// [B, S] of 1 and 0 -> what attention() adds: [B, 1, 1, S], or with `causal` [B, 1, S, S], where
/// a token sees itself and those before it. Undefined when it hides nothing.
torch::Tensor additive_mask(const torch::Tensor& mask, bool causal);

}  // namespace blip::train
