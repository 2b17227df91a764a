#include "train/model/vision_encoder.h"

#include <cmath>

#include "blip/base/error.h"
#include "train/model/attention.h"
#include "train/model/recompute.h"

namespace blip::train {
namespace {

using torch::Tensor;

/// Leaves a branch out for some pictures, and scales it for the others so that its mean is kept.
Tensor drop_path(const Tensor& branch, double rate, bool training) {
  if (rate == 0 || !training) return branch;
  const double keep = 1 - rate;
  return branch *
         torch::empty({branch.size(0), 1, 1}, branch.options()).bernoulli_(keep).div_(keep);
}

}  // namespace

VisionEncoder::VisionEncoder(const TaskOptions& options, Parameters& parameters)
    : config_(options.config.vision),
      first_recomputed_(config_.num_hidden_layers - options.vision_checkpoint_layers) {
  const int d = config_.hidden_size, patch = config_.patch_size;
  const int side = config_.image_size / patch;
  const float eps = config_.layer_norm_eps;
  const std::string embeddings = "vision_model.embeddings.";
  const double bound = 1 / std::sqrt(3.0 * patch * patch);
  class_embedding_ = parameters.normal(embeddings + "class_embedding", {1, 1, d});
  position_embedding_ =
      parameters.normal(embeddings + "position_embedding", {1, side * side + 1, d});
  patch_weight_ =
      parameters.uniform(embeddings + "patch_embedding.weight", {d, 3, patch, patch}, bound);
  patch_bias_ = parameters.uniform(embeddings + "patch_embedding.bias", {d}, bound);
  for (int i = 0; i < config_.num_hidden_layers; ++i) {
    const std::string name = "vision_model.encoder.layers." + std::to_string(i) + ".";
    Layer layer;
    layer.layer_norm1 = parameters.layer_norm(name + "layer_norm1", d, eps);
    layer.qkv = parameters.linear(name + "self_attn.qkv", 3 * d, d);
    layer.projection = parameters.linear(name + "self_attn.projection", d, d);
    layer.layer_norm2 = parameters.layer_norm(name + "layer_norm2", d, eps);
    layer.fc1 = parameters.linear(name + "mlp.fc1", config_.intermediate_size, d);
    layer.fc2 = parameters.linear(name + "mlp.fc2", d, config_.intermediate_size);
    if (i > 0) layer.drop_path = options.drop_path * i / (config_.num_hidden_layers - 1);
    layers_.push_back(std::move(layer));
  }
  post_layernorm_ = parameters.layer_norm("vision_model.post_layernorm", d, eps);
}

Tensor VisionEncoder::embed(const Tensor& pixel_values) const {
  const std::int64_t size = config_.image_size, patch = config_.patch_size;
  if (pixel_values.dim() != 4 || pixel_values.size(1) != 3 || pixel_values.size(2) != size ||
      pixel_values.size(3) != size) {
    throw Error(ErrorCode::usage, "pictures of the shape " + std::to_string(pixel_values.size(-2)) +
                                      " x " + std::to_string(pixel_values.size(-1)) +
                                      " came; the model takes " + std::to_string(size) + " x " +
                                      std::to_string(size));
  }
  const std::int64_t batch = pixel_values.size(0), side = size / patch;
  // A convolution whose windows do not overlap is one matrix product over the patches.
  const Tensor patches = pixel_values.view({batch, 3, side, patch, side, patch})
                             .permute({0, 2, 4, 1, 3, 5})
                             .reshape({batch, side * side, 3 * patch * patch});
  const Tensor tokens = at::linear(patches, patch_weight_.flatten(1), patch_bias_);
  const Tensor first = class_embedding_.expand({batch, 1, class_embedding_.size(2)});
  return at::cat({first.to(tokens.scalar_type()), tokens}, 1) + position_embedding_;
}

Tensor VisionEncoder::run(const Layer& layer, const Tensor& x, bool training) const {
  const std::vector<Tensor> qkv = layer.qkv(layer.layer_norm1(x)).chunk(3, -1);
  const Tensor attended =
      attention(qkv[0], qkv[1], qkv[2], config_.num_attention_heads, {}, /*dropout=*/0);
  const Tensor y = x + drop_path(layer.projection(attended), layer.drop_path, training);
  const Tensor inner = at::gelu(layer.fc1(layer.layer_norm2(y)));
  return y + drop_path(layer.fc2(inner), layer.drop_path, training);
}

Tensor VisionEncoder::forward(const Tensor& pixel_values, bool training, const Probe& probe) const {
  Tensor x = embed(pixel_values);
  if (probe) probe("vision.hidden_states.0", x);
  for (int i = 0; i < config_.num_hidden_layers; ++i) {
    const Layer& layer = layers_[static_cast<std::size_t>(i)];
    if (i < first_recomputed_) {
      x = run(layer, x, training);
    } else {
      x = recomputed([this, &layer, training](const Tensor& in, const Tensor&,
                                              const Tensor&) { return run(layer, in, training); },
                     x);
    }
    if (probe) probe("vision.hidden_states." + std::to_string(i + 1), x);
  }
  return post_layernorm_(x);
}

}  // namespace blip::train
