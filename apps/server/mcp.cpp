#include "apps/server/mcp.h"

#include <algorithm>
#include <exception>
#include <new>
#include <optional>

#include "apps/server/fronts.h"
#include "blip/base/error.h"

namespace blip::server {
namespace {

// Oldest first.
constexpr const char* kHandshakeVersions[] = {"2024-11-05", "2025-03-26", "2025-06-18",
                                              "2025-11-25"};
constexpr const char* kModernVersion = "2026-07-28";
constexpr const char* kVersionKey = "io.modelcontextprotocol/protocolVersion";
constexpr const char* kCapabilitiesKey = "io.modelcontextprotocol/clientCapabilities";
constexpr const char* kServerKey = "io.modelcontextprotocol/serverInfo";
constexpr const char* kInstructions =
    "Looks at pictures with BLIP: captions, long descriptions, answers, how well texts match. "
    "Each call takes one picture.";
constexpr std::size_t kMostInBatch = 64;
constexpr int kListMilliseconds = 60'000;  // that a client may keep the list of tools

/// What ends a request with an error of the protocol.
struct Refusal {
  McpError code;
  std::string message;
  Json data = nullptr;
};

Json supported_versions() {
  Json versions = {kModernVersion};
  for (std::size_t i = std::size(kHandshakeVersions); i-- > 0;)
    versions.push_back(kHandshakeVersions[i]);
  return versions;
}

Json server_info() {
  return {{"name", "blip"}, {"title", "BLIP"}, {"version", BLIP_VERSION}};
}

std::string required_text(const Json& params, const char* name) {
  const Json& value = member(params, name);
  if (!value.is_string())
    throw Refusal{McpError::params, "\"" + std::string(name) + "\" must be a text"};
  return value.get<std::string>();
}

const Json& meta_of(const Json& params) {
  return member(params, "_meta");
}

Refusal unsupported(const std::string& version) {
  return {McpError::version,
          "the protocol version " + in_quotes(version) + " is not supported",
          {{"supported", supported_versions()}, {"requested", version}}};
}

/// What every request of the modern version says of itself, and its headers of it.
void check_modern(const std::string& method, const Json& params, const McpCall& call) {
  const Json& meta = meta_of(params);
  const std::string version = required_text(meta, kVersionKey);
  if (!member(meta, kCapabilitiesKey).is_object()) {
    throw Refusal{McpError::params,
                  "\"_meta\" must have " + std::string(kCapabilitiesKey) + ", an object"};
  }
  if (call.headers) {
    const auto check = [](const char* header, const std::string& says, const Json& wanted) {
      if (says == wanted || wanted.is_null()) return;
      throw Refusal{McpError::header_mismatch, "the header " + std::string(header) + ", " +
                                                   in_quotes(says) +
                                                   ", does not say what the message says"};
    };
    check("Mcp-Protocol-Version", call.version, version);
    check("Mcp-Method", call.headers->method, method);
    if (method == "tools/call") check("Mcp-Name", call.headers->name, member(params, "name"));
  }
  if (version != kModernVersion) throw unsupported(version);
}

Json initialize(const Json& params) {
  const std::string wanted = required_text(params, "protocolVersion");
  return {
      {"protocolVersion", Mcp::knows_version(wanted) ? wanted : *std::rbegin(kHandshakeVersions)},
      {"capabilities", {{"tools", Json::object()}}},
      {"serverInfo", server_info()},
      {"instructions", kInstructions}};
}

Json discover() {
  return {{"supportedVersions", supported_versions()},
          {"capabilities", {{"tools", Json::object()}}},
          {"instructions", kInstructions},
          {"ttlMs", kListMilliseconds},
          {"cacheScope", "public"}};
}

std::string progress_message(const Json& progress) {
  std::string message = progress.value("stage", "");
  const int rounds = progress.value("rounds", 0);
  const int of = progress.value("of", 0);
  if (rounds > 1) {
    message +=
        ", round " + std::to_string(progress.value("round", 0)) + " of " + std::to_string(rounds);
  }
  if (of > 0)
    message += ", " + std::to_string(progress.value("done", 0)) + " of " + std::to_string(of);
  return message;
}

/// Turns the service's events into notifications where the client gave a token for them.
Events progress_events(const Json& params, const McpCall& call) {
  const Json token = member(meta_of(params), "progressToken");
  if (token.is_null() || !call.notify) return {};
  if (!token.is_string() && !token.is_number_integer())
    throw Refusal{McpError::params, "\"progressToken\" must be a text or a whole number"};
  return
      [&call, token, count = 0, said = std::string()](const char* event, const Json& data) mutable {
        if (std::string_view(event) != "progress" || call.ticket.ended()) return;
        std::string message = progress_message(data);
        if (message == said) return;
        said = message;
        call.notify(
            {{"jsonrpc", "2.0"},
             {"method", "notifications/progress"},
             {"params",
              {{"progressToken", token}, {"progress", ++count}, {"message", std::move(message)}}}});
      };
}

bool is_id(const Json& id) {
  return id.is_string() || id.is_number();
}

}  // namespace

McpTools mcp_tools(Service& service, std::size_t file_bytes) {
  return McpTools(
      {[&service](Task task) { return service.model_for(task) != nullptr; },
       [&service](Task task, TaskInput input, const Ticket& ticket, const Events& events) {
         return service.run(task, std::move(input), ticket, events);
       }},
      file_bytes);
}

bool Mcp::takes_time(const Json& message) {
  return message.is_array() || member(message, "method") == "tools/call";
}

bool Mcp::is_modern(const Json& message, const std::string& version) {
  const Json& method = member(message, "method");
  if (method == "initialize") return false;
  return method == "server/discover" || version == kModernVersion ||
         !member(meta_of(member(message, "params")), kVersionKey).is_null();
}

bool Mcp::knows_version(const std::string& version) {
  return std::find(std::begin(kHandshakeVersions), std::end(kHandshakeVersions), version) !=
         std::end(kHandshakeVersions);
}

Json Mcp::error(const Json& id, McpError code, const std::string& message) {
  return {{"jsonrpc", "2.0"},
          {"id", id},
          {"error", {{"code", static_cast<int>(code)}, {"message", message}}}};
}

std::shared_ptr<const void> Mcp::track(const Json& message, const std::string& client,
                                       std::function<void()> end) {
  const Json& id = member(message, "id");
  if (client.empty() || !is_id(id)) return {};
  const std::lock_guard lock(mutex_);
  const auto entry = running_.emplace(RequestKey{client, id.dump()}, std::move(end));
  return {this, [entry](Mcp* mcp) {
            const std::lock_guard last(mcp->mutex_);
            mcp->running_.erase(entry);
          }};
}

void Mcp::cancel(const Json& params, const std::string& client) {
  const Json& id = member(params, "requestId");
  if (!is_id(id)) return;
  const std::lock_guard lock(mutex_);
  const auto [first, last] = running_.equal_range(RequestKey{client, id.dump()});
  std::for_each(first, last, [](const auto& entry) { entry.second(); });
}

Json Mcp::answer(Json message, const McpCall& call) {
  return message.is_array() ? answer_batch(std::move(message), call)
                            : answer_one(std::move(message), call);
}

// Batches came with JSON-RPC and left the protocol with 2025-06-18.
Json Mcp::answer_batch(Json batch, const McpCall& call) {
  if (!call.version.empty() && call.version != "2024-11-05" && call.version != "2025-03-26")
    return error(nullptr, McpError::request, "this version of the protocol has no batches");
  if (batch.empty() || batch.size() > kMostInBatch) {
    return error(nullptr, McpError::request,
                 "a batch must have 1 to " + std::to_string(kMostInBatch) + " messages, but has " +
                     std::to_string(batch.size()));
  }
  Json answers = Json::array();
  for (Json& message : batch) {
    Json one = member(message, "method") == "initialize"
                   ? error(member(message, "id"), McpError::request,
                           "\"initialize\" must not be part of a batch")
                   : answer_one(std::move(message), call);
    if (!one.is_null()) answers.push_back(std::move(one));
  }
  return answers.empty() ? Json() : answers;
}

Json Mcp::answer_one(Json message, const McpCall& call) {
  const bool response = member(message, "method").is_null() && message.is_object() &&
                        (message.contains("result") || message.contains("error"));
  if (response) return nullptr;  // nothing was asked of the client
  const bool has_id = message.is_object() && message.contains("id");
  const Json id = is_id(member(message, "id")) ? message["id"] : Json();
  const Json& method = member(message, "method");
  if (member(message, "jsonrpc") != "2.0" || !method.is_string() || (has_id && id.is_null()))
    return error(id, McpError::request, "the message is not a request of JSON-RPC 2.0");
  const std::string name = method.get<std::string>();
  if (!has_id) {
    if (name == "notifications/cancelled") cancel(member(message, "params"), call.client);
    return nullptr;
  }
  const bool modern = is_modern(message, call.version);
  Json params = Json::object();
  if (message.contains("params")) params = std::move(message["params"]);
  try {
    if (!params.is_object()) throw Refusal{McpError::params, "\"params\" must be an object"};
    return {
        {"jsonrpc", "2.0"}, {"id", id}, {"result", result(name, std::move(params), modern, call)}};
  } catch (const Refusal& refusal) {
    Json failure = error(id, refusal.code, refusal.message);
    if (!refusal.data.is_null()) failure["error"]["data"] = refusal.data;
    return failure;
  } catch (const std::bad_alloc&) {
    return error(id, McpError::internal, "there is no memory left for this");
  } catch (const std::exception& e) {
    return error(id, McpError::internal, e.what());
  }
}

Json Mcp::result(const std::string& method, Json params, bool modern, const McpCall& call) {
  if (method == "initialize") return initialize(params);
  if (modern) {
    check_modern(method, params, call);
  } else if (!call.version.empty() && !knows_version(call.version)) {
    throw unsupported(call.version);
  }
  std::optional<Json> found;
  if (method == "ping" && !modern) return Json::object();
  if (method == "server/discover") found = discover();
  if (method == "tools/list") {
    if (!member(params, "cursor").is_null())
      throw Refusal{McpError::params, "the list of tools has one page and no cursor"};
    found = Json::object({{"tools", tools_.list()}});
    if (modern) found->update({{"ttlMs", kListMilliseconds}, {"cacheScope", "public"}});
  }
  if (method == "tools/call") found = call_tool(std::move(params), call);
  if (!found) throw Refusal{McpError::method, "there is no method " + in_quotes(method)};
  if (modern) {
    (*found)["resultType"] = "complete";
    (*found)["_meta"] = {{kServerKey, server_info()}};
  }
  return std::move(*found);
}

Json Mcp::call_tool(Json params, const McpCall& call) {
  const std::string name = required_text(params, "name");
  if (!tools_.has(name)) throw Refusal{McpError::params, "there is no tool " + in_quotes(name)};
  const Events events = progress_events(params, call);
  Json arguments = Json::object();
  if (!member(params, "arguments").is_null()) arguments = std::move(params["arguments"]);
  if (!arguments.is_object()) throw Refusal{McpError::params, "\"arguments\" must be an object"};
  try {
    return tools_.call(name, std::move(arguments), call.ticket, events);
  } catch (const Error& e) {
    switch (call.ticket.ending()) {
      case Ending::client_left:
      case Ending::cancelled:
        throw Refusal{McpError::cancelled, "the request was cancelled"};
      case Ending::deadline:
        throw Refusal{McpError::internal, "the request took longer than it may"};
      case Ending::shutdown:
      case Ending::none:
        break;
    }
    throw Refusal{McpError::internal, "the service is stopping"};
  }
}

}  // namespace blip::server
