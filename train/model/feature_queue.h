#pragma once

#include <torch/torch.h>

#include "train/model/momentum.h"

namespace blip::train {

/// The features of the last batches, which ITC compares with beside the batch itself.
class FeatureQueue {
 public:
  /// Random directions at first, of pictures without an id (-100). The tensors are buffers of
  /// `root`. `width`: of a feature.
  FeatureQueue(torch::nn::Module& root, std::int64_t width, std::int64_t size);

  torch::Tensor images, texts;  ///< [E, Q]
  torch::Tensor image_ids;      ///< [1, Q] i64
  torch::Tensor pointer;        ///< [1] i64: where the next batch goes

  /// Replaces the oldest. Throws Error{usage} when the queue is no multiple of the batch.
  void push(const Features& features, const torch::Tensor& ids);
};

}  // namespace blip::train
