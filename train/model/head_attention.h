#pragma once

#include <torch/torch.h>

namespace blip::train {

/// attention() on a CPU in f32, for libtorch before 2: its batched products go head by head through
/// the dispatcher and need every head apart. These read and write heads where they lie, and give
/// each core heads of its own. Same arguments and result as attention().
torch::Tensor head_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                             int heads, const torch::Tensor& mask, double dropout);

}  // namespace blip::train
