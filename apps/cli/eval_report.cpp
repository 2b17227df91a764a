#include "apps/cli/eval_report.h"

#include <algorithm>
#include <cstdio>
#include <ostream>

#include "blip/base/file.h"
#include "blip/base/json.h"

namespace blip::cli {
namespace {

Json to_json(const EvalReport& report) {
  Json json = {{"task", report.task}, {"metrics", Json::object()}, {"samples", Json::object()}};
  for (const Metric& metric : report.metrics) {
    json["metrics"][metric.key] = metric.value;
    json["samples"][metric.key] = metric.samples;
  }
  json["missing"] = report.missing;
  return json;
}

}  // namespace

void print_report(const EvalReport& report, Format format) {
  if (format != Format::text) {
    std::printf("%s\n", to_json(report).dump(format == Format::json ? 2 : -1).c_str());
    return;
  }
  std::size_t width = 6;
  for (const Metric& metric : report.metrics) width = std::max(width, metric.label.size());
  const auto column = static_cast<int>(width);
  std::printf("%-*s  %7s  %8s\n", column, "metric", "value", "samples");
  for (const Metric& metric : report.metrics) {
    std::printf("%-*s  %7.2f  %8zu\n", column, metric.label.c_str(), metric.value, metric.samples);
  }
  if (report.missing > 0) std::printf("without a result: %zu\n", report.missing);
}

void write_report(const EvalReport& report, const std::filesystem::path& file) {
  write_file(file, [&](std::ostream& out) { out << to_json(report).dump(2) << '\n'; });
}

}  // namespace blip::cli
