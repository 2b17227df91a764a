#pragma once

#include <torch/torch.h>

namespace blip::train {

/// softmax(q k^T / sqrt(d) + mask) v for each of `heads` heads of width d, which lie one after the
/// other: q [B, T, H d], k and v [B, S, H d] -> [B, T, H d]. `mask`, as additive_mask() makes it,
/// is added to the scores; undefined: nothing is hidden. `dropout` falls on the probabilities; 0
/// when not training.
torch::Tensor attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                        int heads, const torch::Tensor& mask, double dropout);

/// [B, S] of 1 and 0 -> what attention() adds: [B, 1, 1, S], or with `causal` [B, 1, S, S], where
/// a token sees itself and those before it. Undefined when `mask` is.
torch::Tensor additive_mask(const torch::Tensor& mask, bool causal);

}  // namespace blip::train
