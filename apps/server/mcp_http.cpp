// The Model Context Protocol over HTTP: POST /mcp takes a message and answers it with JSON, or with
// a stream of events when there is progress to tell.
#include <memory>
#include <string>
#include <utility>

#include "apps/server/api.h"
#include "apps/server/base64.h"
#include "apps/server/fronts.h"
#include "apps/server/mcp.h"

namespace blip::server {
namespace {

/// What stands in a header that may be encoded as "=?base64?...?=".
std::string decoded(std::string_view value) {
  constexpr std::string_view kBegin = "=?base64?";
  constexpr std::string_view kEnd = "?=";
  if (value.size() < kBegin.size() + kEnd.size() || !value.starts_with(kBegin) ||
      !value.ends_with(kEnd))
    return std::string(value);
  try {
    return decode_base64(value.substr(kBegin.size(), value.size() - kBegin.size() - kEnd.size()));
  } catch (const Error&) {
    return std::string(value);
  }
}

int status_of(const Json& answer, bool modern) {
  if (!answer.is_object() || !answer.contains("error")) return 200;
  switch (static_cast<McpError>(answer["error"]["code"].get<int>())) {
    case McpError::parse:
    case McpError::request:
    case McpError::header_mismatch:
    case McpError::version:
      return 400;
    case McpError::params:
      return modern ? 400 : 200;
    case McpError::method:
      return modern ? 404 : 200;
    case McpError::internal:
    case McpError::cancelled:
      break;
  }
  return 200;
}

void answer_post(Mcp& mcp, Exchange& exchange) {
  HttpRequest& request = exchange.request();
  Json message;
  try {
    message = parse_request_json(std::exchange(request.body, {}));
  } catch (const Error& e) {
    HttpResponse response = json_response(Mcp::error(nullptr, McpError::parse, e.what()));
    response.status = 400;
    return exchange.send(std::move(response));
  }
  const bool opens = member(message, "method") == "initialize";
  McpCall call{
      exchange.ticket(), std::string(request.header("Mcp-Session-Id")),
      std::string(request.header("Mcp-Protocol-Version")),
      McpHeaders{std::string(request.header("Mcp-Method")), decoded(request.header("Mcp-Name"))}};
  const bool modern = Mcp::is_modern(message, call.version);
  bool begun = false;
  const auto write = [&](const Json& json) {
    if (!std::exchange(begun, true)) {
      HttpResponse head = event_stream();
      head.headers.emplace_back("X-Accel-Buffering", "no");
      exchange.begin(std::move(head));
    }
    exchange.write(server_sent_event("message", json));
  };
  if (request.header("Accept").find("text/event-stream") != std::string_view::npos)
    call.notify = write;
  const auto tracked = mcp.track(message, call.client, [&exchange] { exchange.cancel(); });
  const Json answer = mcp.answer(std::move(message), call);
  if (begun) return write(answer);
  if (answer.is_null()) return exchange.send({202, "application/json", ""});
  HttpResponse response = json_response(answer);
  response.status = status_of(answer, modern);
  if (opens && response.status == 200) {
    // Who knows it may cancel the requests that came with it; nothing else is kept of a session.
    response.headers = {{"Mcp-Session-Id", random_key()}};
  }
  exchange.send(std::move(response));
}

}  // namespace

void add_mcp_routes(Router& router, Service& service) {
  const auto mcp = std::make_shared<Mcp>(mcp_tools(service, 0));
  router.work("POST", "/mcp",
              [mcp](Exchange& exchange, const Captures&) { answer_post(*mcp, exchange); });
}

}  // namespace blip::server
