#include <fcntl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>

#include "apps/cli/commands.h"
#include "apps/cli/service_flags.h"
#include "apps/server/mcp_stdio.h"
#include "blip/base/error.h"

namespace blip::cli {
namespace {

struct McpFlags {
  ServiceFlags service;
  std::size_t message_mib = 100;
  std::size_t requests = 64;
};

/// A descriptor that is readable once SIGTERM or SIGINT came, which are blocked from here on, in
/// threads that are started later too.
int stop_descriptor() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &signals, SFD_CLOEXEC);
}

/// Standard output for the protocol alone: what anything else writes there goes to standard error.
int protocol_output() {
  const int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  dup2(STDERR_FILENO, STDOUT_FILENO);
  return out;
}

int run(const McpFlags& flags) {
  server::McpPipe pipe;
  pipe.out = protocol_output();
  pipe.stop = stop_descriptor();
  if (pipe.out < 0 || pipe.stop < 0) {
    throw Error(ErrorCode::io,
                "cannot open standard output and signals: " + std::string(std::strerror(errno)));
  }
  pipe.message_bytes = flags.message_mib << 20;
  pipe.requests = flags.requests;
  server::Service service(flags.service.options());
  server::Mcp mcp(server::mcp_tools(service, pipe.message_bytes));
  server::serve_mcp(mcp, pipe);
  return 0;
}

}  // namespace

void add_mcp_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand(
      "mcp", "Offer captions, descriptions and answers to a language model's program (MCP)");
  const auto flags = std::make_shared<McpFlags>();
  flags->service.add_to(*command);
  add_limit(*command, "--max-message-mib", flags->message_mib, "MiB of a message or of a picture",
            {1, 1 << 20});
  add_limit(*command, "--max-queue", flags->requests, "requests that are worked on at once",
            kThreads);
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
