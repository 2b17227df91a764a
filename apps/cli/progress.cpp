#include "apps/cli/progress.h"

#include <unistd.h>

#include <cstdio>

namespace blip::cli {

Progress::Progress(std::size_t total)
    : total_(total),
      start_(std::chrono::steady_clock::now()),
      terminal_(isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
  clear();
}

double Progress::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void Progress::say(const std::string& words) {
  if (!terminal_ || seconds() < 1.0) return;
  std::fprintf(stderr, "\r\033[K%s", words.c_str());
  std::fflush(stderr);
  shown_ = true;
}

void Progress::update(std::size_t done) {
  if (!terminal_ || seconds() < 1.0 || done == 0) return;
  const double per_second = static_cast<double>(done) / seconds();
  const auto left = static_cast<long>(static_cast<double>(total_ - done) / per_second);
  std::fprintf(stderr, "\r\033[K%zu of %zu pictures, %.1f per second, %ld:%02ld:%02ld left", done,
               total_, per_second, left / 3600, left / 60 % 60, left % 60);
  std::fflush(stderr);
  shown_ = true;
}

void Progress::clear() {
  if (shown_) std::fputs("\r\033[K", stderr);
  shown_ = false;
}

}  // namespace blip::cli
