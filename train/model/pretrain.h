#pragma once

#include "train/model/image_text_task.h"
#include "train/model/text_decoder.h"

namespace blip::train {

/// Pre-training (paper section 3.2): ITC, ITM and LM together. The decoder shares all with the text
/// encoder but self-attention.
class Pretrain final : public ImageTextTask {
 public:
  explicit Pretrain(const TaskOptions& options);
  Losses losses(const Batch& batch, const Progress& progress, Communicator& communicator) override;
  const TextDecoder& decoder() const { return decoder_; }

 private:
  TextDecoder decoder_;
};

}  // namespace blip::train
