#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "apps/server/http.h"
#include "blip/base/json.h"

namespace blip::server {

/// Why a request failed.
struct Failure {
  int status;        ///< of HTTP
  std::string code;  ///< one of those that docs/service.md lists
  std::string message;
};

/// A failure in the form that the clients of a route understand.
using FailureShape = Json (*)(const Failure&);

/// What stood in place of a pattern's {...}.
using Captures = std::vector<std::string>;

/// Which function answers which method and path.
class Router {
 public:
  using AtOnce = std::function<HttpResponse(const HttpRequest&, const Captures&)>;
  using Work = std::function<void(Exchange&, const Captures&)>;

  /// `pattern` is a path in which "{...}" stands for any one segment. Answers may throw Error.
  /// `shape` is that of all failures of the route; none: /v1's.
  void at_once(const char* method, const char* pattern, AtOnce answer,
               FailureShape shape = nullptr);
  /// What computes: on a thread of its own.
  void work(const char* method, const char* pattern, Work answer, FailureShape shape = nullptr);

  struct Route {
    std::string method;
    std::string pattern;
    AtOnce at_once;
    Work work;
    FailureShape shape;
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
