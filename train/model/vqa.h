#pragma once

#include "train/model/med.h"
#include "train/model/model_task.h"
#include "train/model/text_decoder.h"

namespace blip::train {

/// Visual question answering (blip_vqa): an encoder reads the question and the picture, a decoder
/// writes the answers. Each answer's loss is its tokens' sum times its weight; a batch's is the sum
/// over answers divided by the number of questions.
class Vqa final : public ModelTask {
 public:
  explicit Vqa(const TaskOptions& options);
  Losses losses(const Batch& batch, const Progress& progress, Communicator& communicator) override;

  const TextDecoder& decoder() const { return decoder_; }
  const Med& text_encoder() const { return text_encoder_; }
  /// Last hidden states [B, T, D] of the questions.
  torch::Tensor question_states(const Batch& batch, const Probe& probe = {}) const;

 private:
  Med text_encoder_;
  TextDecoder decoder_;
};

}  // namespace blip::train
