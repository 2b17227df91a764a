#pragma once

#include <cstdint>

#include "train/run/configuration.h"

namespace blip::train {

/// The authors' schedules (utils.py).
double cosine_rate(double progress, double end, double lr, double min_lr);
double step_rate(double epoch, double lr, double min_lr, double decay_rate);
double warmup_rate(double step, double steps, double from, double to);

/// The learning rate of `step` (from 0), of `steps` in all: the schedule's, and no higher than the
/// warm-up's. The authors warm up in the first epoch only; here it may last longer.
double learning_rate(const OptimConfiguration& optim, std::int64_t step,
                     std::int64_t steps_per_epoch, std::int64_t steps);

}  // namespace blip::train
