#include "train/model/attention.h"

#include <torch/version.h>

#include <cmath>

namespace blip::train {
namespace {

/// As the authors have it: far below any score, and safe in every precision.
constexpr double kHidden = -10000.0;

}  // namespace

torch::Tensor attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                        const torch::Tensor& mask, double dropout) {
#if TORCH_VERSION_MAJOR >= 2
  c10::optional<torch::Tensor> bias;
  if (mask.defined()) bias = mask.to(q.scalar_type());
  return at::scaled_dot_product_attention(q, k, v, bias, dropout).transpose(1, 2).flatten(2);
#else
  torch::Tensor scores =
      at::matmul(q * (1 / std::sqrt(static_cast<double>(q.size(-1)))), k.transpose(-2, -1));
  if (mask.defined()) scores.add_(mask);
  torch::Tensor probabilities = at::softmax(scores, -1);
  if (dropout > 0) probabilities = at::dropout(probabilities, dropout, true);
  return at::matmul(probabilities, v).transpose(1, 2).flatten(2);
#endif
}

torch::Tensor split_heads(const torch::Tensor& x, int heads) {
  return x.view({x.size(0), x.size(1), heads, -1}).transpose(1, 2);
}

torch::Tensor additive_mask(const torch::Tensor& mask, bool causal) {
  if (!mask.defined()) return {};
  torch::Tensor seen = mask.to(torch::kFloat).unsqueeze(1).unsqueeze(1);
  if (causal) seen = seen * torch::ones({mask.size(1), mask.size(1)}, seen.options()).tril();
  return (1 - seen) * kHidden;
}

}  // namespace blip::train
