#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "train/run/metrics_log.h"

namespace blip::train {

/// The line that people watch on standard error: at its place on a terminal, else one after
/// another.
class ProgressLine {
 public:
  /// `quiet`: says nothing (other ranks).
  ProgressLine(std::int64_t steps, bool quiet);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// "step 120 of 5000, epoch 0: loss 3.214 (ita 1.204, ...), lr 1e-05, 12.3 pictures/s, ..."
  void update(std::int64_t step, const Values& values, double seconds_left);
  /// A line of its own.
  void say(const std::string& text);

 private:
  std::int64_t steps_;
  bool quiet_, terminal_;
  bool open_ = false;  ///< the cursor stands in a line
};

}  // namespace blip::train
