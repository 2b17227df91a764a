#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "apps/server/mcp_tools.h"
#include "apps/server/ticket.h"
#include "blip/base/json.h"

namespace blip::server {

/// JSON-RPC's error codes, and those that the protocol adds.
enum class McpError {
  parse = -32700,
  request = -32600,
  method = -32601,
  params = -32602,
  internal = -32603,
  header_mismatch = -32020,
  version = -32022,
  cancelled = -32800,
};

/// What HTTP says beside a message, so that what is between client and server can go by it.
struct McpHeaders {
  std::string method;
  std::string name;
};

/// What a transport knows of a message.
struct McpCall {
  const Ticket& ticket;
  std::string client;   ///< who may cancel what: a secret of the client's, or empty for nobody
  std::string version;  ///< that initialize agreed on, or that a header says; empty: none yet
  std::optional<McpHeaders> headers = {};
  std::function<void(const Json&)> notify = {};  ///< sends a message before the answer
};

/// The Model Context Protocol, whatever carries its messages: JSON in, JSON out. Speaks the
/// versions that begin with initialize (2024-11-05 to 2025-11-25) and the one whose requests stand
/// each for itself (2026-07-28); each message says itself which it is. Safe to share between
/// threads. Source: modelcontextprotocol.io/specification.
class Mcp {
 public:
  explicit Mcp(McpTools tools) : tools_(std::move(tools)) {}

  /// The answer to a message or a batch of them; null where none is due. Never throws, but
  /// std::bad_alloc. While it runs, a cancelled request (see track()) is answered with an error
  /// that the transport drops if it can.
  Json answer(Json message, const McpCall& call);

  /// As long as the result lives, the client's notifications/cancelled for this request calls
  /// `end`.
  std::shared_ptr<const void> track(const Json& message, const std::string& client,
                                    std::function<void()> end);

  /// Whether the message computes, so that others must not wait for it.
  static bool takes_time(const Json& message);
  /// Whether it is of the version without initialize.
  static bool is_modern(const Json& message, const std::string& version);
  /// Whether initialize may agree on `version`.
  static bool knows_version(const std::string& version);
  static Json error(const Json& id, McpError code, const std::string& message);

 private:
  using RequestKey = std::pair<std::string, std::string>;  ///< client and id

  Json answer_batch(Json batch, const McpCall& call);
  Json answer_one(Json message, const McpCall& call);
  Json result(const std::string& method, Json params, bool modern, const McpCall& call);
  Json call_tool(Json params, const McpCall& call);
  void cancel(const Json& params, const std::string& client);

  McpTools tools_;
  std::mutex mutex_;
  std::multimap<RequestKey, std::function<void()>> running_;  ///< guarded by mutex_
};

/// The tools of `service`. `file_bytes` as in McpTools.
McpTools mcp_tools(Service& service, std::size_t file_bytes);

}  // namespace blip::server
