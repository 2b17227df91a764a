#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "blip/checkpoint/config.h"
#include "blip/checkpoint/tensor_store.h"
#include "blip/model/nlvr_encoder.h"
#include "blip/model/text_decoder.h"
#include "blip/model/text_encoder.h"
#include "blip/model/vision_encoder.h"

namespace blip {

/// The parts of BLIP that a checkpoint has. Immutable; safe to share between threads.
/// Asking for a part that it lacks throws Error{unsupported} saying what the checkpoint is for.
class BlipModel {
 public:
  /// Throws Error{bad_model} naming a tensor that is missing or misshapen.
  BlipModel(const BlipConfig& config, const Parameters& parameters);

  const BlipConfig& config() const { return config_; }
  const VisionEncoder& vision() const { return vision_; }
  /// Captions, and answers to questions.
  const TextDecoder& text_decoder() const;
  /// Text features, matching, questions.
  const TextEncoder& text_encoder() const;
  /// Statements about two pictures.
  const NlvrEncoder& nlvr_encoder() const;

  /// Whether there are heads for image_feat() and text_feat(), and for itm_logits().
  bool has_itc_heads() const { return vision_proj_.has_value() || dual_.has_value(); }
  bool has_itm_head() const { return itm_head_.has_value(); }
  /// Throws Error{unsupported} for what has_itc_heads() and has_itm_head() deny.
  void require_itc_heads() const;
  void require_itm_head() const;

  /// The projected class token of `image_embeds`, and the same scaled to length 1: image_feat
  /// (ITC).
  std::vector<float> image_projection(std::span<const float> image_embeds) const;
  std::vector<float> image_feat(std::span<const float> image_embeds) const;
  /// The projected first token of `hidden`, and the same scaled to length 1: text_feat (ITC).
  std::vector<float> text_projection(std::span<const float> hidden) const;
  std::vector<float> text_feat(std::span<const float> hidden) const;
  /// tanh(dense(first token)): what the dual encoder projects instead of the first token.
  std::vector<float> text_pooler(std::span<const float> hidden) const;
  /// The two logits of "no match" and "match" from the first token of `hidden` (ITM).
  std::array<float, 2> itm_logits(std::span<const float> hidden) const;
  /// [D]: the logit of "match" is its dot product with the first token of `hidden`, and a constant.
  std::vector<float> itm_match_weights() const;
  /// The two logits of "false" and "true" from the first token of `hidden` (NLVR2).
  std::array<float, 2> nlvr_logits(std::span<const float> hidden) const;

 private:
  /// transformers' CLIP-like BlipModel pools and projects differently from the paper's heads.
  struct DualHeads {
    Linear pooler;             // text_model.pooler.dense [D, D], then tanh
    Linear visual_projection;  // [P, D], no bias
    Linear text_projection;    // [P, D], no bias
  };

  [[noreturn]] void lacks(const char* part) const;

  BlipConfig config_;
  VisionEncoder vision_;
  std::optional<TextDecoder> text_decoder_;
  std::optional<TextEncoder> text_encoder_;
  std::optional<NlvrEncoder> nlvr_encoder_;
  std::optional<Linear> vision_proj_;              // [256, D]
  std::optional<Linear> text_proj_;                // [256, D]
  std::optional<Linear> itm_head_;                 // [2, D]
  std::optional<std::array<Linear, 2>> cls_head_;  // cls_head.0 [D, D], ReLU, cls_head.2 [2, D]
  std::optional<DualHeads> dual_;
};

}  // namespace blip
