#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "train/run/configuration.h"
#include "train/run/metrics_log.h"

namespace blip::train {

/// A picture of the training data with what the model says of it.
struct ReportSample {
  std::string file;
  std::string caption;
};

/// One curve as an SVG element: `name` over steps, smoothed where there are many points. Empty when
/// no line has it.
std::string curve(const std::vector<MetricsLine>& lines, const std::string& name);

/// Writes FOLDER/report.html, one file that needs no other: curves of metrics.jsonl, samples, the
/// configuration. Throws Error{io}.
void write_report(const std::filesystem::path& folder, const std::string& task,
                  const Configuration& configuration, const std::vector<ReportSample>& samples);

/// What the `blip` command that lies beside this program says of the pictures, with the model in
/// `model`. Empty when there is no such command or it fails.
std::vector<ReportSample> caption_samples(const std::filesystem::path& model,
                                          const std::string& prompt,
                                          const std::vector<std::string>& pictures);

}  // namespace blip::train
