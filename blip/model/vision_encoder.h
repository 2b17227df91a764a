#pragma once

#include <span>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/tensor.h"
#include "blip/checkpoint/config.h"
#include "blip/checkpoint/tensor_store.h"
#include "blip/model/parameters.h"
#include "blip/model/probe.h"

namespace blip {

/// The ViT (paper section 3.1): a picture becomes N = 1 + (height / patch) * (width / patch) tokens
/// of width D, the class token first. Immutable.
class VisionEncoder {
 public:
  /// Reads "vision_model.*". Throws Error{bad_model} naming a tensor that is missing or misshapen.
  VisionEncoder(const VisionConfig& config, const Parameters& parameters);

  const VisionConfig& config() const { return config_; }
  /// N for a picture of this size in pixels.
  int num_tokens(int height, int width) const;

  /// `pixel_values` [3, height, width] -> `image_embeds` [N, D]. At another size than the
  /// checkpoint's the position embeddings are interpolated (bicubic, as torch does).
  /// Throws Error{usage} when a side is no positive multiple of the patch size, Error{cancelled}.
  void forward(std::span<const float> pixel_values, int height, int width,
               std::span<float> image_embeds, const Context& context,
               const Probe& probe = {}) const;
  /// The same for several pictures of one size, each [3, height, width] -> [N, D], with the same
  /// bits: pictures_at_once() of them share what packing the weights costs.
  void forward(std::span<const std::span<const float>> pictures, int height, int width,
               std::span<float* const> image_embeds, const Context& context) const;
  /// How many pictures of this size go through the layers together.
  std::size_t pictures_at_once(int height, int width) const;

  /// Applies post_layernorm once more to the class token [D]: transformers' pooler_output.
  void pool(std::span<const float> image_embeds, std::span<float> pooled) const;

 private:
  /// x = x + projection(attention(qkv(layer_norm1(x)))); x = x + fc2(gelu(fc1(layer_norm2(x))))
  struct Layer {
    LayerNorm layer_norm1;  // [D]
    Linear qkv;             // self_attn.qkv [3 D, D]
    Linear projection;      // self_attn.projection [D, D]
    LayerNorm layer_norm2;  // [D]
    Linear fc1;             // mlp.fc1 [I, D]
    Linear fc2;             // mlp.fc2 [D, I]
  };

  void check_size(int height, int width) const;
  void forward_together(std::span<const std::span<const float>> pictures, int height, int width,
                        std::span<float* const> image_embeds, const Context& context,
                        const Probe& probe) const;
  void embed(std::span<const float> pixel_values, int height, int width, float* x) const;
  /// The position embeddings [N, D] at this size: the checkpoint's own, or interpolated into `own`.
  const float* position_embedding(int height, int width, std::vector<float>& own) const;

  VisionConfig config_;
  Linear patch_embedding_;     // embeddings.patch_embedding [D, 3, patch, patch]
  Weight class_embedding_;     // embeddings.class_embedding [1, 1, D]
  Weight position_embedding_;  // embeddings.position_embedding [1, N, D]
  std::vector<Layer> layers_;
  LayerNorm post_layernorm_;  // [D]
};

}  // namespace blip
