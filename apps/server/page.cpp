#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "apps/server/api.h"
#include "apps/server/page_files.h"

namespace blip::server {
namespace {

// The page loads nothing from elsewhere and cannot be framed; pictures that were chosen are blobs.
constexpr const char* kContentSecurityPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'";

const char* content_type(std::string_view path) {
  if (path.ends_with(".html")) return "text/html; charset=utf-8";
  if (path.ends_with(".css")) return "text/css; charset=utf-8";
  if (path.ends_with(".js")) return "text/javascript; charset=utf-8";
  if (path.ends_with(".json")) return "application/json";
  if (path.ends_with(".svg")) return "image/svg+xml";
  return "application/octet-stream";
}

HttpResponse answer(const PageFile& file, const std::string& etag, const HttpRequest& request) {
  HttpResponse response{200, content_type(file.path), ""};
  response.headers = {{"ETag", etag},
                      {"Cache-Control", "no-cache"},
                      {"Referrer-Policy", "no-referrer"},
                      {"Content-Security-Policy", kContentSecurityPolicy}};
  if (request.header("If-None-Match") == etag) {
    response.status = 304;
  } else {
    response.body = file.content;
  }
  return response;
}

}  // namespace

void add_page_routes(Router& router) {
  for (const PageFile& file : page_files()) {
    const std::string etag =
        "\"" + std::to_string(std::hash<std::string_view>()(file.content)) + "\"";
    const auto serve = [&file, etag](const HttpRequest& request, const Captures&) {
      return answer(file, etag, request);
    };
    router.at_once("GET", ("/" + std::string(file.path)).c_str(), serve);
    if (std::string_view(file.path) == "index.html") router.at_once("GET", "/", serve);
  }
}

}  // namespace blip::server
