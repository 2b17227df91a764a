#include "train/run/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace blip::train {

double cosine_rate(double progress, double end, double lr, double min_lr) {
  return (lr - min_lr) * 0.5 * (1.0 + std::cos(std::numbers::pi * progress / end)) + min_lr;
}

double step_rate(double epoch, double lr, double min_lr, double decay_rate) {
  return std::max(min_lr, lr * std::pow(decay_rate, epoch));
}

double warmup_rate(double step, double steps, double from, double to) {
  return std::min(to, from + (to - from) * step / std::max(steps, 1.0));
}

double learning_rate(const OptimConfiguration& optim, std::int64_t step,
                     std::int64_t steps_per_epoch, std::int64_t steps) {
  const auto per_epoch = static_cast<double>(steps_per_epoch);
  double epoch = static_cast<double>(step) / per_epoch;
  double epochs = static_cast<double>(steps) / per_epoch;
  if (optim.per == "epoch") {
    epoch = std::floor(epoch);
    epochs = std::ceil(epochs);
  }
  double rate = optim.lr;
  if (optim.schedule == "cosine") rate = cosine_rate(epoch, epochs, optim.lr, optim.min_lr);
  if (optim.schedule == "step") {
    rate = step_rate(epoch, optim.lr, optim.min_lr, optim.decay_rate);
  }
  if (step >= optim.warmup_steps) return rate;
  return std::min(rate,
                  warmup_rate(static_cast<double>(step), static_cast<double>(optim.warmup_steps),
                              optim.warmup_lr, optim.lr));
}

}  // namespace blip::train
