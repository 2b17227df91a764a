#include "train/run/metrics_log.h"

#include <cmath>
#include <cstdio>
#include <sstream>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/base/json.h"

namespace blip::train {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 30;

std::string line_of(std::int64_t step, const Values& values) {
  std::string line = "{\"step\": " + std::to_string(step);
  for (const auto& [name, value] : values) {
    char number[32];
    std::snprintf(number, sizeof number, "%.6g", value);
    line += ", " + dump(Json(name)) + ": " + (std::isfinite(value) ? number : "null");
  }
  return line + "}";
}

MetricsLine parse_line(const std::string& text) {
  const Json json = Json::parse(text);
  MetricsLine line;
  for (const auto& [key, value] : json.items()) {
    if (key == "step") {
      line.step = value.get<std::int64_t>();
    } else if (value.is_number()) {
      line.values.emplace_back(key, value.get<double>());
    }
  }
  return line;
}

}  // namespace

std::vector<MetricsLine> read_metrics(const std::filesystem::path& file) {
  std::vector<MetricsLine> lines;
  std::istringstream in(read_file(file, kMaxBytes));
  for (std::string text; std::getline(in, text);) {
    try {
      lines.push_back(parse_line(text));
    } catch (const std::exception&) {
      break;  // the process ended while it wrote
    }
  }
  return lines;
}

MetricsLog::MetricsLog(const std::filesystem::path& folder, std::int64_t step, bool tensorboard)
    : file_(folder / "metrics.jsonl") {
  std::string kept;
  if (step > 0 && std::filesystem::exists(file_)) {
    for (const MetricsLine& line : read_metrics(file_)) {
      if (line.step <= step) kept += line_of(line.step, line.values) + "\n";
    }
  }
  write_file(file_, [&](std::ostream& out) { out << kept; });
  out_.open(file_, std::ios::app);
  if (tensorboard) events_ = std::make_unique<EventFile>(folder, step == 0 ? 0 : step + 1);
}

void MetricsLog::add(std::int64_t step, const Values& values) {
  out_ << line_of(step, values) << std::endl;
  if (!out_)
    throw Error(ErrorCode::io, "cannot write " + file_.string() + ": the disk may be full");
  if (events_) events_->add(step, values);
}

}  // namespace blip::train
