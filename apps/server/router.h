#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "apps/server/http.h"

namespace blip::server {

/// What stood in place of a pattern's {...}.
using Captures = std::vector<std::string>;

/// Which function answers which method and path.
class Router {
 public:
  using AtOnce = std::function<HttpResponse(const HttpRequest&, const Captures&)>;
  using Work = std::function<void(Exchange&, const Captures&)>;

  /// `pattern` is a path in which "{...}" stands for any one segment.
  void at_once(const char* method, const char* pattern, AtOnce answer);
  /// What computes: on a thread of its own. May throw Error.
  void work(const char* method, const char* pattern, Work answer);

  struct Route {
    std::string method;
    std::string pattern;
    AtOnce at_once;
    Work work;
  };
  struct Found {
    const Route* route = nullptr;
    Captures captures;
    std::string allowed;  ///< methods of the path, where this one is not among them
  };
  /// HEAD finds GET's route.
  Found find(std::string_view method, std::string_view path) const;
  const std::vector<Route>& routes() const { return routes_; }

 private:
  std::vector<Route> routes_;
};

}  // namespace blip::server
