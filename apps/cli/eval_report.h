#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "apps/cli/flags.h"

namespace blip::cli {

/// One figure of an evaluation.
struct Metric {
  std::string key;    ///< in JSON: "bleu_4"
  std::string label;  ///< in the table: "BLEU-4"
  double value = 0;   ///< in per cent, as papers give it
  std::size_t samples = 0;
};

struct EvalReport {
  std::string task;
  std::vector<Metric> metrics;
  std::size_t missing = 0;  ///< annotated samples without a result, left out of the metrics
};

/// To standard output: a table, or one JSON object.
void print_report(const EvalReport& report, Format format);

/// The same object, to a file. Throws Error{io}.
void write_report(const EvalReport& report, const std::filesystem::path& file);

}  // namespace blip::cli
