#pragma once

#include <span>
#include <string>

#include "blip/base/context.h"
#include "blip/model/med.h"

namespace blip {

/// A text to encode, with [CLS] or [ENC] first.
struct EncoderText {
  std::span<const int> tokens;
  const CrossKeysValues* image = nullptr;  ///< what it looks at; of a batch all look or none
  std::size_t padding = 0;                 ///< how many of the last tokens no token sees
};

/// How batches of many tokens are multiplied.
enum class Batching {
  fast,       ///< as pictures are: the last bits of a text then depend on the size of its batch
  same_bits,  ///< as each text would be alone
};

/// MED with bidirectional self-attention: the text encoder (ITC) and, when the texts look at
/// pictures, the image-grounded text encoder (ITM, VQA questions). Immutable.
class TextEncoder {
 public:
  /// Reads "<prefix>*"; `cross_width` is the width of what it attends to, 0 when it never does.
  TextEncoder(const TextConfig& config, const Parameters& parameters, const std::string& prefix,
              int cross_width);

  const TextConfig& config() const { return med_.config(); }
  const Med& med() const { return med_; }

  /// Keys and values of `states` [tokens, cross_width] for every layer.
  CrossKeysValues attend_to(std::span<const float> states, std::size_t tokens,
                            const Context& context) const {
    return med_.project(states, tokens, context);
  }

  /// Last hidden states [M, D] of all texts, one after the other, M tokens in all.
  /// Throws Error{usage} for a text longer than max_position_embeddings, Error{cancelled}.
  Tensor forward(std::span<const EncoderText> texts, const Context& context,
                 const Probe& probe = {}, Batching batching = Batching::fast) const;

 private:
  Med med_;
};

}  // namespace blip
