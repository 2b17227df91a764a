#include "apps/server/router.h"

#include <optional>
#include <utility>

namespace blip::server {
namespace {

/// Takes the segment before the next slash off the front.
std::string_view next_segment(std::string_view& path) {
  const std::size_t slash = path.find('/');
  const std::string_view segment = path.substr(0, slash);
  path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
  return segment;
}

std::optional<Captures> match(std::string_view pattern, std::string_view path) {
  Captures captures;
  while (!pattern.empty() && !path.empty()) {
    const std::string_view wanted = next_segment(pattern);
    const std::string_view got = next_segment(path);
    if (wanted.starts_with('{')) {
      if (got.empty()) return {};
      captures.emplace_back(got);
    } else if (wanted != got) {
      return {};
    }
  }
  if (!pattern.empty() || !path.empty()) return {};
  return captures;
}

}  // namespace

void Router::at_once(const char* method, const char* pattern, AtOnce answer, FailureShape shape) {
  routes_.push_back({method, pattern, std::move(answer), {}, shape});
}

void Router::work(const char* method, const char* pattern, Work answer, FailureShape shape) {
  routes_.push_back({method, pattern, {}, std::move(answer), shape});
}

Router::Found Router::find(std::string_view method, std::string_view path) const {
  Found found;
  for (const Route& route : routes_) {
    std::optional<Captures> captures = match(route.pattern, path);
    if (!captures) continue;
    if (route.method == method || (method == "HEAD" && route.method == "GET"))
      return {&route, std::move(*captures), {}};
    found.allowed += (found.allowed.empty() ? "" : ", ") + route.method;
  }
  return found;
}

}  // namespace blip::server
