#include "train/model/momentum.h"

#include "blip/base/error.h"

namespace blip::train {
namespace {

using torch::Tensor;

Tensor of_length_one(const Tensor& projected) {
  return torch::nn::functional::normalize(projected.to(torch::kFloat));
}

/// ITC needs none of what is recomputed, since its copies have no backward pass.
TaskOptions without_recomputation(TaskOptions options) {
  options.vision_checkpoint_layers = 0;
  options.text_checkpoint_layers = 0;
  return options;
}

}  // namespace

FeatureEncoders::FeatureEncoders(const TaskOptions& options, Parameters& parameters,
                                 int cross_width)
    : text_(options, parameters, "text_encoder.", cross_width) {
  const BlipConfig& config = options.config;
  vision_proj_ = parameters.linear("vision_proj", config.image_text_hidden_size,
                                   config.vision.hidden_size, Fill::uniform);
  text_proj_ = parameters.linear("text_proj", config.image_text_hidden_size,
                                 config.text.hidden_size, Fill::uniform);
}

Tensor FeatureEncoders::image_features(const Tensor& image_embeds) const {
  return of_length_one(vision_proj_(image_embeds.select(1, 0)));
}

Tensor FeatureEncoders::text_features(const Tensor& hidden) const {
  return of_length_one(text_proj_(hidden.select(1, 0)));
}

MomentumEncoders::MomentumEncoders(const TaskOptions& options, torch::nn::Module& root)
    : parameters_(root, options.lora, "momentum."),
      vision_(without_recomputation(options), parameters_),
      encoders_(without_recomputation(options), parameters_, /*cross_width=*/0) {}

void MomentumEncoders::update(const Parameters& model, double momentum) {
  torch::NoGradGuard no_grad;
  for (const Parameters::Entry& entry : parameters_.entries()) {
    const Parameters::Entry* online = model.find(entry.name);
    if (online == nullptr) throw Error(ErrorCode::internal, entry.name + " has no momentum copy");
    Tensor copy = entry.tensor;
    copy.lerp_(online->tensor, 1 - momentum);
  }
}

Features MomentumEncoders::features(const Tensor& pixel_values, const Texts& texts,
                                    bool training) const {
  torch::NoGradGuard no_grad;
  return {encoders_.image_features(vision_.forward(pixel_values, training)),
          encoders_.text_features(encoders_.text().forward(texts, nullptr, training))};
}

}  // namespace blip::train
