#pragma once

#include <functional>

#include "train/model/task.h"

namespace blip::train {

/// A task of a few numbers: it learns to tell a text's length from the mean of its picture. It has
/// what real ones have: dropout, a copy that follows, features gathered over ranks.
class FakeTask final : public Task {
 public:
  FakeTask() {
    torch::manual_seed(3);
    hidden_ = register_parameter("hidden", torch::randn({3, 16}));
    out_ = register_parameter("out", torch::randn({16}) / 4);
    copy_ = register_buffer("copy", hidden_.detach().clone());
  }

  Losses losses(const Batch& batch, const Progress& progress, Communicator& ranks) override {
    if (before_step) before_step(progress.step);
    const torch::Tensor means = batch.pixel_values.mean({2, 3});
    const torch::Tensor hidden = torch::dropout(torch::tanh(means.matmul(hidden_)), dropout, true);
    const torch::Tensor length = batch.attention_mask.sum(1).to(torch::kFloat);
    torch::Tensor off = (hidden.matmul(out_) - length).pow(2).mean();
    if (progress.step == nan_at) off = off / 0.0;
    // Every picture against those of all ranks.
    const torch::Tensor features = torch::tanh(means.matmul(hidden_));
    const torch::Tensor all = ranks.all_gather_with_gradient(features);
    {
      const torch::NoGradGuard no_grad;
      copy_.mul_(0.9).add_(hidden_, 0.1);
    }
    return {{"loss_length", off}, {"loss_contrast", 0.1 * features.matmul(all.t()).exp().mean()}};
  }

  std::vector<torch::Tensor> state() override { return {hidden_, out_, copy_}; }
  void save_pretrained(const std::filesystem::path&, Layout) const override {}

  double dropout = 0;
  std::int64_t nan_at = -1;
  std::function<void(std::int64_t)> before_step;

 private:
  torch::Tensor hidden_, out_, copy_;
};

}  // namespace blip::train
