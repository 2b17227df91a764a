#pragma once

#include "train/model/model_task.h"
#include "train/model/text_decoder.h"

namespace blip::train {

/// Captioning (blip_decoder): LM on captions after a prompt that is not learnt.
class Captioner final : public ModelTask {
 public:
  explicit Captioner(const TaskOptions& options);
  Losses losses(const Batch& batch, const Progress& progress, Communicator& communicator) override;
  const TextDecoder& decoder() const { return decoder_; }

 private:
  TextDecoder decoder_;
};

/// The LM loss of a batch's texts: [DEC] takes the place of the first token, padding and the prompt
/// are no targets.
torch::Tensor caption_loss(const TextDecoder& decoder, const Batch& batch, const Sight& sight,
                           const TaskOptions& options, bool training, Communicator& communicator);

}  // namespace blip::train
