#include "train/run/progress.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>

namespace blip::train {
namespace {

std::string number(double value, const char* format) {
  char text[48];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string duration(double seconds) {
  const auto s = static_cast<long>(std::fmin(seconds, 1e9));
  char text[48];
  std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
  return text;
}

}  // namespace

ProgressLine::ProgressLine(std::int64_t steps, bool quiet)
    : steps_(steps), quiet_(quiet), terminal_(isatty(STDERR_FILENO) != 0) {}

ProgressLine::~ProgressLine() {
  if (open_) std::fputc('\n', stderr);
}

void ProgressLine::say(const std::string& text) {
  if (quiet_) return;
  std::fprintf(stderr, "%s%s\n", open_ ? "\r\033[K" : "", text.c_str());
  open_ = false;
}

void ProgressLine::update(std::int64_t step, const Values& values, double seconds_left) {
  if (quiet_) return;
  std::string losses, rest;
  for (const auto& [name, value] : values) {
    if (name == "loss") {
      losses = "loss " + number(value, "%.4f") + losses;
    } else if (name.starts_with("loss_")) {
      losses += ", " + name.substr(5) + " " + number(value, "%.4f");
    } else if (name == "lr") {
      rest += ", lr " + number(value, "%.3g");
    } else if (name == "pictures_per_second") {
      rest += ", " + number(value, "%.1f") + " pictures/s";
    } else if (name == "waiting") {
      rest += ", " + number(100 * value, "%.0f") + " % waiting for data";
    }
  }
  std::fprintf(stderr, "%sstep %lld of %lld: %s%s, %s left", terminal_ ? "\r\033[K" : "",
               static_cast<long long>(step), static_cast<long long>(steps_), losses.c_str(),
               rest.c_str(), duration(seconds_left).c_str());
  if (!terminal_) std::fputc('\n', stderr);
  std::fflush(stderr);
  open_ = terminal_;
}

}  // namespace blip::train
