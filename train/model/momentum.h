#pragma once

#include <torch/torch.h>

#include "train/model/med.h"
#include "train/model/parameters.h"
#include "train/model/vision_encoder.h"

namespace blip::train {

/// Features of pictures and texts [B, E], f32 and of length 1.
struct Features {
  torch::Tensor images, texts;
};

/// The two encoders of ITC with their projections.
class FeatureEncoders {
 public:
  /// Makes "text_encoder.*" without cross-attention when `cross_width` is 0, "vision_proj.*" and
  /// "text_proj.*".
  FeatureEncoders(const TaskOptions& options, Parameters& parameters, int cross_width);

  const Med& text() const { return text_; }
  torch::Tensor image_features(const torch::Tensor& image_embeds) const;
  /// `hidden` [B, T, D] of texts that look at nothing.
  torch::Tensor text_features(const torch::Tensor& hidden) const;

 private:
  Med text_;
  Linear vision_proj_, text_proj_;
};

/// Slowly moving copies of the encoders (MoCo), which make the features of the queues and the soft
/// labels. They are never trained, and have no cross-attention, which ITC does not use.
class MomentumEncoders {
 public:
  MomentumEncoders(const TaskOptions& options, torch::nn::Module& root);

  const Parameters& parameters() const { return parameters_; }
  /// copies = momentum * copies + (1 - momentum) * model; momentum 0 copies.
  void update(const Parameters& model, double momentum);
  Features features(const torch::Tensor& pixel_values, const Texts& texts, bool training) const;

 private:
  Parameters parameters_;
  VisionEncoder vision_;
  FeatureEncoders encoders_;
};

}  // namespace blip::train
