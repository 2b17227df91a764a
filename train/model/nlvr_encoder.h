#pragma once

#include <torch/torch.h>

#include <array>
#include <vector>

#include "train/model/med.h"

namespace blip::train {

/// The text encoder of NLVR2, each of whose layers looks at two pictures by two cross-attentions.
/// Layers 0 to 5 average what they see, later ones merge it by a linear layer.
class NlvrEncoder {
 public:
  /// Makes "text_encoder.*".
  NlvrEncoder(const TaskOptions& options, Parameters& parameters);

  /// Last hidden states [B, T, D]; `pictures` are the image_embeds [B, N, cross_width] of the left
  /// and the right ones.
  torch::Tensor forward(const Texts& texts, const std::array<torch::Tensor, 2>& pictures,
                        bool training, const Probe& probe = {}) const;

 private:
  struct Branch {
    Linear query, key, value, dense;
  };
  struct Layer {
    std::array<Branch, 2> branches;
    bool merges = false;
    Linear merge_layer;
    LayerNorm norm;
  };

  torch::Tensor cross_attention(const Layer& layer, const torch::Tensor& x,
                                const std::array<torch::Tensor, 2>& pictures, bool training) const;

  Med med_;
  int heads_;
  double dropout_;
  std::vector<Layer> layers_;
};

}  // namespace blip::train
