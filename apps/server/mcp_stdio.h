#pragma once

#include <cstddef>

#include "apps/server/mcp.h"

namespace blip::server {

/// Where the protocol's messages go, one a line.
struct McpPipe {
  int in = 0;
  int out = 1;
  int stop = -1;  ///< readable when it is time to stop, such as a signalfd; it is not read from
  std::size_t message_bytes = std::size_t{100} << 20;  ///< of a line; longer ones are refused
  std::size_t requests = 64;                           ///< worked on at once; more are refused
};

/// Answers messages, each request that computes on a thread of its own, so that others can still
/// cancel it. At the end of the input finishes what it took, unless nobody reads the output any
/// more. When `stop` is readable ends it instead. SIGPIPE must be ignored.
void serve_mcp(Mcp& mcp, const McpPipe& pipe);

}  // namespace blip::server
