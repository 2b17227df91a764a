#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace blip::server {

/// Counts of answered requests, for Prometheus. Safe to share between threads.
class Metrics {
 public:
  /// `route` is a pattern, not a path, so that their number is bounded.
  void count(const std::string& route, int status, double seconds);

  /// The counts in Prometheus' text format, without what others measure.
  std::string text() const;

 private:
  static constexpr std::array<double, 10> kBounds = {0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300};
  struct Durations {
    std::array<std::uint64_t, kBounds.size() + 1> counts{};
    double sum = 0;
  };

  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, std::uint64_t> requests_;
  std::map<std::string, Durations> durations_;
};

/// One gauge or counter in Prometheus' text format.
std::string metric(const char* name, const char* type, const char* help, double value);

}  // namespace blip::server
