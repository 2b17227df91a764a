#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "train/model/parameters.h"
#include "train/model/task.h"
#include "train/model/vision_encoder.h"

namespace blip::train {

/// What all tasks have: options, named parameters, the vision encoder, saving.
class ModelTask : public Task {
 public:
  const TaskOptions& options() const { return options_; }
  Parameters& parameters_by_name() { return parameters_; }
  const Parameters& parameters_by_name() const { return parameters_; }
  const VisionEncoder& vision() const { return vision_; }

  /// A tensor of training state that the authors' .pth has beside the model's own, such as "temp",
  /// "image_queue" and "visual_encoder_m.norm.weight" (their names).
  using Named = std::vector<std::pair<std::string, torch::Tensor>>;
  virtual Named training_state() const { return {}; }
  /// After weights were loaded without that state: momentum copies become the model.
  virtual void reset_training_state() {}

  std::vector<torch::Tensor> state() override;
  void save_pretrained(const std::filesystem::path& folder, Layout layout) const override;

 protected:
  /// Throws Error{usage, bad_model} for options that make no sense.
  ModelTask(Architecture architecture, TaskOptions options);

  /// To be called at the end of the constructor: freezes what is to be frozen.
  void finish() { parameters_.freeze(options_.frozen); }

 private:
  TaskOptions options_;
  Parameters parameters_;
  VisionEncoder vision_;
};

/// A copy of ids [B, T] whose first token is `first`.
torch::Tensor with_first(const torch::Tensor& ids, std::int64_t first);

/// Throws Error{internal} when a field of the batch that the task needs is undefined.
void require(const torch::Tensor& tensor, const char* field, const char* task);

}  // namespace blip::train
