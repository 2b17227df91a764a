#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <string>

#include "apps/server/api.h"
#include "apps/server/page_files.h"

namespace blip::server {
namespace {

/// "POST /v1/models/{}": what stands in braces is only a name.
std::string route(std::string method, const std::string& path) {
  std::transform(method.begin(), method.end(), method.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  std::string text = method + " ";
  bool inside = false;
  for (const char c : path) {
    inside = inside && c != '}';
    if (!inside) text.push_back(c);
    inside = inside || c == '{';
  }
  return text;
}

std::set<std::string> documented() {
  const Json document = parse_json(openapi_json(), "openapi.json");
  std::set<std::string> routes;
  for (const auto& [path, item] : document["paths"].items()) {
    Json methods = item;
    if (item.contains("$ref")) {
      const std::string name = item["$ref"];
      methods = document["components"]["pathItems"][name.substr(name.rfind('/') + 1)];
    }
    for (const auto& [method, operation] : methods.items()) routes.insert(route(method, path));
  }
  return routes;
}

std::set<std::string> served() {
  Service service({.decoder = {.command = "/bin/true"}});
  const Api api(service, {});
  std::set<std::string> routes;
  for (const Router::Route& one : api.router().routes()) {
    const bool of_page = std::ranges::any_of(page_files(), [&](const PageFile& file) {
      return one.pattern == "/" + std::string(file.path);
    });
    routes.insert(of_page ? "GET /{}" : route(one.method, one.pattern));
  }
  return routes;
}

TEST(OpenApi, HasEveryRouteAndNoOther) {
  EXPECT_EQ(documented(), served());
}

}  // namespace
}  // namespace blip::server
