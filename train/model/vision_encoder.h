#pragma once

#include <torch/torch.h>

#include <functional>
#include <string>
#include <vector>

#include "blip/checkpoint/config.h"
#include "train/model/parameters.h"

namespace blip::train {

/// Is shown named intermediates, as blip/model's Probe is: "vision.hidden_states.3" [B, N, D].
using Probe = std::function<void(const std::string& name, const torch::Tensor& values)>;

/// The ViT: pictures become N = 1 + (S / patch)^2 tokens of width D, the class token first.
class VisionEncoder {
 public:
  /// Makes "vision_model.*". The options' drop_path and vision_checkpoint_layers are its own.
  VisionEncoder(const TaskOptions& options, Parameters& parameters);

  /// `pixel_values` [B, 3, S, S] -> image_embeds [B, N, D]. Throws Error{usage} for pictures of
  /// another size than the configuration's.
  torch::Tensor forward(const torch::Tensor& pixel_values, bool training,
                        const Probe& probe = {}) const;

 private:
  struct Layer {
    LayerNorm layer_norm1;
    Linear qkv, projection;
    LayerNorm layer_norm2;
    Linear fc1, fc2;
    double drop_path = 0;
  };

  torch::Tensor embed(const torch::Tensor& pixel_values) const;
  torch::Tensor run(const Layer& layer, const torch::Tensor& x, bool training) const;

  VisionConfig config_;
  int first_recomputed_;
  torch::Tensor patch_weight_, patch_bias_;  // [D, 3, patch, patch], [D]
  torch::Tensor class_embedding_;            // [1, 1, D]
  torch::Tensor position_embedding_;         // [1, N, D]
  std::vector<Layer> layers_;
  LayerNorm post_layernorm_;
};

}  // namespace blip::train
