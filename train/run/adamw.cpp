#include "train/run/adamw.h"

#include <ATen/Parallel.h>

#include <cmath>

namespace blip::train {

/// What a step multiplies by.
struct AdamW::Factors {
  double shrink;  ///< of the parameter: decoupled decay
  double size;    ///< lr over the first moment's correction
  double root;    ///< square root of the second moment's correction
};

AdamW::AdamW(std::vector<torch::Tensor> parameters, const OptimConfiguration& options)
    : parameters_(std::move(parameters)),
      steps_(torch::zeros({static_cast<std::int64_t>(parameters_.size())}, torch::kLong)),
      beta1_(options.beta1),
      beta2_(options.beta2),
      eps_(options.eps),
      decay_(options.weight_decay) {
  for (const torch::Tensor& parameter : parameters_) {
    first_.push_back(torch::zeros_like(parameter, torch::MemoryFormat::Contiguous));
    second_.push_back(torch::zeros_like(parameter, torch::MemoryFormat::Contiguous));
  }
}

std::vector<torch::Tensor> AdamW::state() const {
  std::vector<torch::Tensor> all = first_;
  all.insert(all.end(), second_.begin(), second_.end());
  all.push_back(steps_);
  return all;
}

void AdamW::zero_grad() {
  for (torch::Tensor& parameter : parameters_) parameter.mutable_grad().reset();
}

double AdamW::clip(double most) {
  std::vector<torch::Tensor> norms;
  for (const torch::Tensor& parameter : parameters_) {
    if (parameter.grad().defined()) norms.push_back(parameter.grad().norm());
  }
  if (norms.empty()) return 0;
  const double norm = torch::stack(norms).norm().item<double>();
  const double factor = most / (norm + 1e-6);
  if (factor < 1.0) {
    for (const torch::Tensor& parameter : parameters_) {
      if (parameter.grad().defined()) parameter.grad().mul_(factor);
    }
  }
  return norm;
}

void AdamW::step(double lr) {
  const torch::NoGradGuard no_grad;
  auto steps = steps_.accessor<std::int64_t, 1>();
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (!parameters_[i].grad().defined()) continue;
    const auto count = static_cast<double>(++steps[static_cast<std::int64_t>(i)]);
    move(i, {1.0 - lr * decay_, lr / (1.0 - std::pow(beta1_, count)),
             std::sqrt(1.0 - std::pow(beta2_, count))});
  }
}

void AdamW::move(std::size_t i, const Factors& factors) {
  torch::Tensor& parameter = parameters_[i];
  const torch::Tensor grad = parameter.grad().contiguous();
  if (!parameter.is_cpu() || parameter.scalar_type() != torch::kFloat ||
      !parameter.is_contiguous()) {
    parameter.mul_(factors.shrink);
    first_[i].mul_(beta1_).add_(grad, 1 - beta1_);
    second_[i].mul_(beta2_).addcmul_(grad, grad, 1 - beta2_);
    parameter.addcdiv_(first_[i], (second_[i].sqrt() / factors.root).add_(eps_), -factors.size);
    return;
  }
  float* const p = parameter.data_ptr<float>();
  float* const m = first_[i].data_ptr<float>();
  float* const v = second_[i].data_ptr<float>();
  const float* const g = grad.data_ptr<float>();
  const auto b1 = static_cast<float>(beta1_), b2 = static_cast<float>(beta2_);
  const auto c1 = static_cast<float>(1 - beta1_), c2 = static_cast<float>(1 - beta2_);
  const auto shrink = static_cast<float>(factors.shrink), size = static_cast<float>(factors.size);
  const auto root = static_cast<float>(factors.root), eps = static_cast<float>(eps_);
  constexpr std::int64_t kGrain = 1 << 15;
  at::parallel_for(0, parameter.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = begin; k < end; ++k) {
      m[k] = m[k] * b1 + g[k] * c1;
      v[k] = v[k] * b2 + g[k] * g[k] * c2;
      p[k] = p[k] * shrink - size * (m[k] / (std::sqrt(v[k]) / root + eps));
    }
  });
}

}  // namespace blip::train
