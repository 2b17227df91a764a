#pragma once

#include <span>
#include <vector>

#include "blip/base/context.h"
#include "blip/model/med.h"

namespace blip {

/// The image-grounded text encoder of NLVR2 (paper section 5.4): each layer attends to two pictures
/// by two cross-attentions. Layers 0 to 5 average their outputs, later ones merge them by a linear
/// layer without activation (authors' nlvr_encoder.py). Immutable.
class NlvrEncoder {
 public:
  /// Reads "text_encoder.*".
  NlvrEncoder(const TextConfig& config, const Parameters& parameters, int cross_width);

  const TextConfig& config() const { return med_.config(); }

  /// Keys and values of one picture's states [tokens, cross_width] as the first (branch 0) or
  /// second (branch 1) of a pair.
  CrossKeysValues attend_to(int branch, std::span<const float> states, std::size_t tokens,
                            const Context& context) const;

  /// Last hidden states [M, D] of all statements about the pair `images`, one after the other, M
  /// tokens in all. Throws Error{usage} for a statement longer than max_position_embeddings,
  /// Error{cancelled}.
  Tensor forward(std::span<const std::vector<int>> statements,
                 std::span<const CrossKeysValues* const, 2> images, const Context& context,
                 const Probe& probe = {}) const;

 private:
  struct Branch {
    Linear query;       // crossattention.self{0,1}.query [D, D]
    Linear key, value;  // crossattention.self{0,1}.{key,value} [D, cross_width]
    Linear dense;       // crossattention.output.dense{0,1} [D, D]
  };
  struct Layer {
    Branch branches[2];
    bool merges = false;
    Linear merge_layer;  // crossattention.output.merge_layer [D, 2 D]
    LayerNorm norm;      // crossattention.output.LayerNorm [D]
  };

  void cross_attention_sublayer(std::size_t layer, std::size_t rows,
                                std::span<const CrossKeysValues* const, 2> images,
                                Med::Scratch& scratch) const;

  Med med_;
  std::vector<Layer> layers_;
};

}  // namespace blip
