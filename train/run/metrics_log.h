#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "train/run/event_file.h"

namespace blip::train {

/// What a run tells about a step, in order.
using Values = EventFile::Values;

/// FOLDER/metrics.jsonl, one object a line, and TensorBoard's event files beside it.
class MetricsLog {
 public:
  /// Goes on after `step` steps: lines of later ones, from before a run was interrupted, go.
  /// Throws Error{io}.
  MetricsLog(const std::filesystem::path& folder, std::int64_t step, bool tensorboard);

  /// "step" and the values, which JSON shows with six digits. Throws Error{io}.
  void add(std::int64_t step, const Values& values);

 private:
  std::filesystem::path file_;
  std::ofstream out_;
  std::unique_ptr<EventFile> events_;
};

/// A line of metrics.jsonl.
struct MetricsLine {
  std::int64_t step = 0;
  Values values;
};

/// All lines; a last one that is cut short is left out. Throws Error{io}.
std::vector<MetricsLine> read_metrics(const std::filesystem::path& file);

}  // namespace blip::train
