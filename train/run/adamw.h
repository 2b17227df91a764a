#pragma once

#include <torch/torch.h>

#include <vector>

#include "train/run/configuration.h"

namespace blip::train {

/// AdamW as torch.optim has it, over all parameters with one decay. One pass over memory on the
/// CPU.
class AdamW {
 public:
  /// `parameters` are f32, contiguous, and stay where they are.
  AdamW(std::vector<torch::Tensor> parameters, const OptimConfiguration& options);

  /// Moves the parameters that have a gradient, with learning rate `lr`.
  void step(double lr);
  void zero_grad();
  /// Scales all gradients so that their norm together is at most `most`; returns the norm before.
  double clip(double most);

  const std::vector<torch::Tensor>& parameters() const { return parameters_; }
  /// Both moments of each parameter, and how often it was moved: what a resume needs.
  std::vector<torch::Tensor> state() const;

 private:
  struct Factors;
  void move(std::size_t i, const Factors& factors);

  std::vector<torch::Tensor> parameters_, first_, second_;
  torch::Tensor steps_;  ///< [parameters] i64, on the CPU
  double beta1_, beta2_, eps_, decay_;
};

}  // namespace blip::train
