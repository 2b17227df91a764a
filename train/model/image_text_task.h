#pragma once

#include <torch/torch.h>

#include <optional>

#include "train/model/feature_queue.h"
#include "train/model/hard_negatives.h"
#include "train/model/model_task.h"
#include "train/model/momentum.h"

namespace blip::train {

/// ITC and ITM, which pre-training and retrieval have in common (paper section 3.2).
class ImageTextTask : public ModelTask {
 public:
  const FeatureEncoders& encoders() const { return encoders_; }
  const Linear& itm_head() const { return itm_head_; }
  Named training_state() const override;
  void reset_training_state() override { momentum_.update(parameters_by_name(), 0); }

  /// Replaces how hard negatives are drawn: called for the pictures of all texts, then for the
  /// texts of all pictures. For tests.
  void set_negative_chooser(NegativeChooser chooser) { chooser_ = std::move(chooser); }

 protected:
  ImageTextTask(Architecture architecture, TaskOptions options);

  /// What a forward pass has in hand after ITC. W: pictures of this batch, or of all ranks' with
  /// negatives_across_ranks.
  struct Encoded {
    torch::Tensor image_embeds;                    // [B, N, D]
    Features features;                             // [B, E], with gradient
    torch::Tensor same_picture;                    // [B, W]: true where it is the text's own
    torch::Tensor image_to_texts, text_to_images;  // [B, W + Q]: similarities / temperature
    torch::Tensor loss;                            // ITC
  };
  Encoded contrast(const Batch& batch, const Progress& progress, Communicator& communicator);

  /// For each text a wrong picture and for each picture a wrong text: indices into the batch, or
  /// with negatives_across_ranks into that of all ranks.
  struct Negatives {
    torch::Tensor images, texts;  // [B] i64
  };
  /// `weights` [B, W] as negative_weights() makes them.
  Negatives choose(const torch::Tensor& weights_of_images, const torch::Tensor& weights_of_texts,
                   const Progress& progress, const Communicator& communicator) const;

  /// `sight`: the batch's pictures as the text encoder looks at them.
  torch::Tensor match(const Batch& batch, const Encoded& encoded, const Negatives& negatives,
                      const Sight& sight, Communicator& communicator) const;

  const torch::Tensor& temperature() const { return temperature_; }
  /// Whether negatives come from other ranks too.
  bool spans_ranks(const Communicator& communicator) const {
    return options().negatives_across_ranks && communicator.size() > 1;
  }

 private:
  FeatureEncoders encoders_;
  Linear itm_head_;
  torch::Tensor temperature_;  // scalar "temp"
  MomentumEncoders momentum_;
  FeatureQueue queue_;
  NegativeChooser chooser_;
};

}  // namespace blip::train
