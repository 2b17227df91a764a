#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace blip::cli {

/// A line on standard error that counts pictures, shown only on a terminal and once the work has
/// taken more than a second.
class Progress {
 public:
  explicit Progress(std::size_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(std::size_t done);
  /// Shows other words in the line.
  void say(const std::string& words);
  /// Erases the line, so that other output does not run into it.
  void clear();

 private:
  double seconds() const;

  std::size_t total_;
  std::chrono::steady_clock::time_point start_;
  bool terminal_;
  bool shown_ = false;
};

}  // namespace blip::cli
