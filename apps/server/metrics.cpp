#include "apps/server/metrics.h"

#include <algorithm>
#include <cstdio>

namespace blip::server {
namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.12g", value);
  return text;
}

std::string header(const char* name, const char* type, const char* help) {
  return std::string("# HELP ") + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
}

}  // namespace

std::string metric(const char* name, const char* type, const char* help, double value) {
  return header(name, type, help) + name + " " + number(value) + "\n";
}

void Metrics::count(const std::string& route, int status, double seconds) {
  const std::lock_guard lock(mutex_);
  ++requests_[{route, status}];
  Durations& durations = durations_[route];
  const auto bucket = std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin();
  ++durations.counts[static_cast<std::size_t>(bucket)];
  durations.sum += seconds;
}

std::string Metrics::text() const {
  const std::lock_guard lock(mutex_);
  std::string all = header("blip_requests_total", "counter", "Requests that were answered.");
  for (const auto& [key, count] : requests_) {
    all += "blip_requests_total{route=\"" + key.first + "\",status=\"" +
           std::to_string(key.second) + "\"} " + std::to_string(count) + "\n";
  }
  all += header("blip_request_seconds", "histogram", "From a request's arrival to its answer.");
  for (const auto& [route, durations] : durations_) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < durations.counts.size(); ++i) {
      sum += durations.counts[i];
      const std::string bound = i < kBounds.size() ? number(kBounds[i]) : "+Inf";
      all += "blip_request_seconds_bucket{route=\"" + route + "\",le=\"" + bound + "\"} " +
             std::to_string(sum) + "\n";
    }
    all += "blip_request_seconds_sum{route=\"" + route + "\"} " + number(durations.sum) + "\n";
    all += "blip_request_seconds_count{route=\"" + route + "\"} " + std::to_string(sum) + "\n";
  }
  return all;
}

}  // namespace blip::server
