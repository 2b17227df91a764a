#pragma once

#include "train/model/model_task.h"
#include "train/model/nlvr_encoder.h"

namespace blip::train {

/// Visual reasoning over two pictures (blip_nlvr): is the statement true?
class Nlvr final : public ModelTask {
 public:
  explicit Nlvr(const TaskOptions& options);
  Losses losses(const Batch& batch, const Progress& progress, Communicator& communicator) override;
  /// [B, 2]: of "false" and "true".
  torch::Tensor logits(const Batch& batch, const Probe& probe = {}) const;

 private:
  NlvrEncoder text_encoder_;
  Linear hidden_, output_;  // cls_head.0, ReLU, cls_head.2
};

}  // namespace blip::train
