#pragma once

#include <span>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/tensor.h"
#include "blip/model/med.h"

namespace blip {

/// Where the tokens of one text look in a picture, in one layer.
struct AttentionMap {
  Tensor probabilities;  ///< of cross-attention [heads, tokens, image tokens]
  Tensor gradient;       ///< of the logit by each of them, the same shape; empty when not asked for
};

/// What to follow through the layers.
struct AttentionTrace {
  std::span<const int> tokens;
  bool causal = false;          ///< each token sees those before it alone: the decoder
  std::size_t first_layer = 0;  ///< maps are wanted from this one on; below Med::num_layers()
  /// [D]: the logit is its dot product with the last hidden state of the first token, such as the
  /// row of "match" in the ITM head. Empty: no gradients.
  std::span<const float> logit_weights;
};

/// The maps of the layers from `trace.first_layer` on, with gradients by backpropagation from the
/// last layer to that one. Plain f32 code (of the weights as they are stored), made for a text of
/// some dozens of tokens. Throws Error{usage} for one longer than the model's positions,
/// Error{cancelled}.
std::vector<AttentionMap> attention_maps(const Med& med, const CrossKeysValues& image,
                                         const AttentionTrace& trace, const Context& context);

}  // namespace blip
