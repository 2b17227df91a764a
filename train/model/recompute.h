#pragma once

#include <torch/torch.h>

#include <functional>

namespace blip::train {

/// A layer: x, and whatever else it takes gradients for, to its output.
using LayerFunction = std::function<torch::Tensor(const torch::Tensor& x, const torch::Tensor& keys,
                                                  const torch::Tensor& values)>;

/// layer(x, keys, values) that keeps nothing but its inputs for the backward pass, where it is
/// computed again with the same random numbers and autocast (gradient checkpointing). `keys` and
/// `values` may be undefined. Parameters that the layer holds get their gradients.
torch::Tensor recomputed(const LayerFunction& layer, const torch::Tensor& x,
                         const torch::Tensor& keys = {}, const torch::Tensor& values = {});

}  // namespace blip::train
