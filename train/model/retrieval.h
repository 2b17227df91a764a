#pragma once

#include "train/model/image_text_task.h"

namespace blip::train {

/// Retrieval (blip_retrieval): ITC and ITM, where a picture has several captions.
class Retrieval final : public ImageTextTask {
 public:
  explicit Retrieval(const TaskOptions& options);
  Losses losses(const Batch& batch, const Progress& progress, Communicator& communicator) override;
};

}  // namespace blip::train
