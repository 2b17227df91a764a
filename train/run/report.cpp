#include "train/run/report.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/base/html.h"
#include "blip/base/json.h"
#include "blip/image/decode.h"
#include "blip/image/encode.h"
#include "blip/image/resize.h"

extern char** environ;

namespace blip::train {
namespace {

namespace fs = std::filesystem;

constexpr int kWidth = 560, kHeight = 220, kLeft = 64, kBottom = 24, kTop = 10;
constexpr std::size_t kMostPoints = 400;
constexpr int kThumbnail = 160;

constexpr const char* kStyle =
    "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:1180px;padding:0 1em;"
    "color:#222;background:#fff}figure{display:inline-block;margin:0 1em 1em 0;vertical-align:top}"
    "figcaption{max-width:560px}svg{background:#fafafa}pre{overflow:auto;background:#f4f4f4;"
    "padding:1em}.sample figcaption{max-width:180px;font-size:13px}";

struct Point {
  double step, value;
};

std::vector<Point> points_of(const std::vector<MetricsLine>& lines, const std::string& name) {
  std::vector<Point> points;
  for (const MetricsLine& line : lines) {
    for (const auto& [key, value] : line.values) {
      if (key == name) points.push_back({static_cast<double>(line.step), value});
    }
  }
  return points;
}

/// Means of neighbours, so that at most kMostPoints are left.
std::vector<Point> thinned(const std::vector<Point>& points) {
  const std::size_t group = (points.size() + kMostPoints - 1) / kMostPoints;
  if (group <= 1) return points;
  std::vector<Point> out;
  for (std::size_t begin = 0; begin < points.size(); begin += group) {
    const std::size_t end = std::min(begin + group, points.size());
    Point mean{0, 0};
    for (std::size_t i = begin; i < end; ++i) {
      mean.step += points[i].step / static_cast<double>(end - begin);
      mean.value += points[i].value / static_cast<double>(end - begin);
    }
    out.push_back(mean);
  }
  return out;
}

std::string number(double value, const char* format = "%.4g") {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string label(double x, double y, const char* anchor, const std::string& text) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" font-size=\"11\" text-anchor=\"" +
         anchor + "\" fill=\"#555\">" + text + "</text>";
}

std::string thumbnail(const std::string& file) {
  const Image image = load_image(file);
  const double scale =
      std::min(1.0, static_cast<double>(kThumbnail) / std::max(image.width, image.height));
  const Image small =
      resize_bicubic(image, std::max(1, static_cast<int>(std::lround(image.width * scale))),
                     std::max(1, static_cast<int>(std::lround(image.height * scale))));
  return "<img alt=\"\" src=\"" + data_uri("image/png", encode_png(small)) + "\">";
}

/// Runs a program and returns what it wrote to standard output; nothing when it failed.
std::string output_of(const std::vector<std::string>& command) {
  int ends[2];
  if (::pipe(ends) != 0) return "";
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int error =
      ::posix_spawn(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  std::string out;
  char block[4096];
  for (ssize_t n = 0; error == 0 && (n = ::read(ends[0], block, sizeof block)) > 0;) {
    out.append(block, static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  int status = 0;
  if (error != 0 || ::waitpid(child, &status, 0) < 0 || status != 0) return "";
  return out;
}

}  // namespace

std::string curve(const std::vector<MetricsLine>& lines, const std::string& name) {
  const std::vector<Point> points = thinned(points_of(lines, name));
  if (points.empty()) return "";
  double low = points[0].value, high = low;
  for (const Point& p : points) {
    low = std::min(low, p.value);
    high = std::max(high, p.value);
  }
  if (high - low < 1e-12) {
    high += 0.5 * std::max(1e-9, std::abs(high));
    low -= 0.5 * std::max(1e-9, std::abs(low));
  }
  const double first = points.front().step, last = std::max(points.back().step, first + 1);
  std::string line;
  for (const Point& p : points) {
    const double x = kLeft + (p.step - first) / (last - first) * (kWidth - kLeft - 10);
    const double y = kTop + (high - p.value) / (high - low) * (kHeight - kTop - kBottom);
    line += number(x, "%.1f") + "," + number(y, "%.1f") + " ";
  }
  return "<svg width=\"" + std::to_string(kWidth) + "\" height=\"" + std::to_string(kHeight) +
         "\" role=\"img\" aria-label=\"" + escape_html(name) + "\">" +
         label(kLeft - 6, kTop + 8, "end", number(high)) +
         label(kLeft - 6, kHeight - kBottom, "end", number(low)) +
         label(kLeft, kHeight - 6, "start", number(first, "%.0f")) +
         label(kWidth - 10, kHeight - 6, "end", "step " + number(points.back().step, "%.0f")) +
         "<polyline fill=\"none\" stroke=\"#1769aa\" stroke-width=\"1.5\" points=\"" + line +
         "\"/></svg>";
}

void write_report(const fs::path& folder, const std::string& task,
                  const Configuration& configuration, const std::vector<ReportSample>& samples) {
  const std::vector<MetricsLine> lines = read_metrics(folder / "metrics.jsonl");
  std::vector<std::string> names;
  for (const MetricsLine& line : lines) {
    for (const auto& [name, value] : line.values) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  std::string curves;
  for (const std::string& name : names) {
    if (name == "epoch") continue;
    const std::vector<Point> points = points_of(lines, name);
    curves += "<figure>" + curve(lines, name) + "<figcaption>" + escape_html(name) + ": " +
              number(points.back().value) + " at the end</figcaption></figure>\n";
  }
  std::string pictures;
  for (const ReportSample& sample : samples) {
    try {
      pictures += "<figure class=\"sample\">" + thumbnail(sample.file) + "<figcaption>" +
                  escape_html(sample.caption) + "</figcaption></figure>\n";
    } catch (const Error&) {
      continue;  // a picture that is gone by now
    }
  }
  if (!pictures.empty()) pictures = "<h2>What it says of pictures it has seen</h2>\n" + pictures;
  write_file(folder / "report.html", [&](std::ostream& out) {
    out << "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>blip-train "
        << escape_html(task) << "</title><style>" << kStyle << "</style>\n<h1>blip-train "
        << escape_html(task) << "</h1>\n"
        << curves << pictures << "<h2>Configuration</h2>\n<pre>"
        << escape_html(to_yaml(configuration)) << "</pre></html>\n";
  });
}

std::vector<ReportSample> caption_samples(const fs::path& model, const std::string& prompt,
                                          const std::vector<std::string>& pictures) {
  std::error_code error;
  const fs::path command = fs::read_symlink("/proc/self/exe", error).parent_path() / "blip";
  if (error || !fs::exists(command, error) || pictures.empty()) return {};
  std::vector<std::string> arguments = {command.string(), "caption",  "--model",
                                        model.string(),   "--format", "jsonl"};
  if (!prompt.empty()) arguments.insert(arguments.end(), {"--prompt", prompt});
  arguments.insert(arguments.end(), pictures.begin(), pictures.end());
  std::vector<ReportSample> samples;
  std::string lines = output_of(arguments);
  for (std::size_t end = 0; (end = lines.find('\n')) != std::string::npos;
       lines.erase(0, end + 1)) {
    try {
      const Json row = Json::parse(lines.substr(0, end));
      samples.push_back({row.at("path").get<std::string>(),
                         row.at("captions").at(0).at("text").get<std::string>()});
    } catch (const std::exception&) {
      return {};
    }
  }
  return samples;
}

}  // namespace blip::train
