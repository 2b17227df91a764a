#include "blip/model/blip.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "blip/base/error.h"
#include "blip/ops/isa.h"

namespace blip {
namespace {

Linear read_projection(const Parameters& parameters, const std::string& name, int out, int in) {
  return Linear(to_matrix(parameters.weight(name + ".weight", {out, in})), Weight());
}

std::vector<float> apply(const Linear& linear, const float* x) {
  std::vector<float> y(linear.out_features());
  linear.forward(x, 1, y.data());
  return y;
}

std::vector<float> normalised(std::vector<float> x) {
  double square = 0;
  for (const float v : x) square += double{v} * double{v};
  const auto scale = static_cast<float>(1.0 / std::max(std::sqrt(square), 1e-12));
  for (float& v : x) v *= scale;
  return x;
}

}  // namespace

BlipModel::BlipModel(const BlipConfig& config, const Parameters& parameters)
    : config_(config), vision_(config.vision, parameters) {
  active_isa();  // a wrong BLIP_ISA is reported here, not from the middle of a computation
  const TextConfig& text = config.text;
  const int d = text.hidden_size;
  const int vision_width = config.vision.hidden_size;
  const auto read_itc_heads = [&] {
    vision_proj_ = parameters.head("vision_proj", config.image_text_hidden_size, vision_width);
    text_proj_ = parameters.head("text_proj", config.image_text_hidden_size, d);
  };
  switch (config.architecture) {
    case Architecture::captioning:
      text_decoder_.emplace(text, parameters, vision_width);
      break;
    case Architecture::question_answering:
      text_encoder_.emplace(text, parameters, "text_encoder.", vision_width);
      text_decoder_.emplace(text, parameters, d);
      break;
    case Architecture::retrieval:
      text_encoder_.emplace(text, parameters, "text_encoder.", vision_width);
      read_itc_heads();
      itm_head_ = parameters.head("itm_head", 2, d);
      break;
    case Architecture::pretrain:
      text_encoder_.emplace(text, parameters, "text_encoder.", vision_width);
      text_decoder_.emplace(text, parameters, vision_width);
      read_itc_heads();
      itm_head_ = parameters.head("itm_head", 2, d);
      break;
    case Architecture::nlvr:
      nlvr_encoder_.emplace(text, parameters, vision_width);
      cls_head_ = {parameters.head("cls_head.0", d, d), parameters.head("cls_head.2", 2, d)};
      break;
    case Architecture::dual_encoder:
      text_encoder_.emplace(text, parameters, "text_model.", vision_width);
      dual_ = {
          parameters.head("text_model.pooler.dense", d, d),
          read_projection(parameters, "visual_projection", config.projection_dim, vision_width),
          read_projection(parameters, "text_projection", config.projection_dim, d)};
      break;
  }
}

void BlipModel::lacks(const char* part) const {
  throw Error(ErrorCode::unsupported, "this checkpoint is made for " +
                                          std::string(name(config_.architecture)) + " and has no " +
                                          part);
}

const TextDecoder& BlipModel::text_decoder() const {
  if (!text_decoder_) lacks("text decoder to write with, as blip-image-captioning-base has");
  return *text_decoder_;
}

const TextEncoder& BlipModel::text_encoder() const {
  if (!text_encoder_) lacks("text encoder, as blip-itm-base-coco has");
  return *text_encoder_;
}

const NlvrEncoder& BlipModel::nlvr_encoder() const {
  if (!nlvr_encoder_) lacks("encoder for two pictures, as the authors' model_base_nlvr.pth has");
  return *nlvr_encoder_;
}

void BlipModel::require_itc_heads() const {
  if (!has_itc_heads()) lacks("projections of pictures and texts (ITC), as blip-itm-base-coco has");
}

void BlipModel::require_itm_head() const {
  if (!has_itm_head()) lacks("matching head (ITM), as blip-itm-base-coco has");
}

std::vector<float> BlipModel::image_projection(std::span<const float> image_embeds) const {
  if (dual_) {
    std::vector<float> pooled(static_cast<std::size_t>(config_.vision.hidden_size));
    vision_.pool(image_embeds, pooled);
    return apply(dual_->visual_projection, pooled.data());
  }
  require_itc_heads();
  return apply(*vision_proj_, image_embeds.data());
}

std::vector<float> BlipModel::image_feat(std::span<const float> image_embeds) const {
  return normalised(image_projection(image_embeds));
}

std::vector<float> BlipModel::text_pooler(std::span<const float> hidden) const {
  if (!dual_) lacks("text pooler");
  std::vector<float> pooled = apply(dual_->pooler, hidden.data());
  for (float& v : pooled) v = std::tanh(v);
  return pooled;
}

std::vector<float> BlipModel::text_projection(std::span<const float> hidden) const {
  if (dual_) return apply(dual_->text_projection, text_pooler(hidden).data());
  require_itc_heads();
  return apply(*text_proj_, hidden.data());
}

std::vector<float> BlipModel::text_feat(std::span<const float> hidden) const {
  return normalised(text_projection(hidden));
}

std::array<float, 2> BlipModel::itm_logits(std::span<const float> hidden) const {
  require_itm_head();
  std::array<float, 2> logits;
  itm_head_->forward(hidden.data(), 1, logits.data());
  return logits;
}

std::vector<float> BlipModel::itm_match_weights() const {
  require_itm_head();
  std::vector<float> weights(itm_head_->in_features());
  itm_head_->weight().copy_row(1, weights.data());
  return weights;
}

std::array<float, 2> BlipModel::nlvr_logits(std::span<const float> hidden) const {
  if (!cls_head_) lacks("classification head (NLVR2), as the authors' model_base_nlvr.pth has");
  std::vector<float> inner = apply((*cls_head_)[0], hidden.data());
  for (float& v : inner) v = std::max(v, 0.0f);
  std::array<float, 2> logits;
  (*cls_head_)[1].forward(inner.data(), 1, logits.data());
  return logits;
}

}  // namespace blip
