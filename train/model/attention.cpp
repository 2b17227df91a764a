#include "train/model/attention.h"

#include <torch/version.h>

#include <cmath>

#include "train/model/head_attention.h"

namespace blip::train {
namespace {

/// As the authors have it: far below any score, and safe in every precision.
constexpr double kHidden = -10000.0;

}  // namespace

torch::Tensor attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                        int heads, const torch::Tensor& mask, double dropout) {
#if TORCH_VERSION_MAJOR < 2
  if (q.is_cpu() && q.scalar_type() == torch::kFloat) {
    return head_attention(q, k, v, heads, mask, dropout);
  }
#endif
  const auto split = [&](const torch::Tensor& x) {
    return x.view({x.size(0), x.size(1), heads, -1}).transpose(1, 2);
  };
  const torch::Tensor queries = split(q), keys = split(k), values = split(v);
#if TORCH_VERSION_MAJOR >= 2
  c10::optional<torch::Tensor> bias;
  if (mask.defined()) bias = mask.to(q.scalar_type());
  return at::scaled_dot_product_attention(queries, keys, values, bias, dropout)
      .transpose(1, 2)
      .flatten(2);
#else
  torch::Tensor scores = at::matmul(
      queries * (1 / std::sqrt(static_cast<double>(queries.size(-1)))), keys.transpose(-2, -1));
  if (mask.defined()) scores.add_(mask);
  torch::Tensor probabilities = at::softmax(scores, -1);
  if (dropout > 0) probabilities = at::dropout(probabilities, dropout, true);
  return at::matmul(probabilities, values).transpose(1, 2).flatten(2);
#endif
}

torch::Tensor additive_mask(const torch::Tensor& mask, bool causal) {
  if (!mask.defined()) return {};
  torch::Tensor seen = mask.to(torch::kFloat).unsqueeze(1).unsqueeze(1);
  if (causal) seen = seen * torch::ones({mask.size(1), mask.size(1)}, seen.options()).tril();
  return (1 - seen) * kHidden;
}

}  // namespace blip::train
