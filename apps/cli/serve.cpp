#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>

#include "apps/cli/commands.h"
#include "apps/cli/service_flags.h"
#include "apps/server/api.h"
#include "apps/server/decoding.h"
#include "apps/server/http.h"
#include "apps/server/service.h"

namespace blip::cli {
namespace {

struct ServeFlags {
  ServiceFlags service;
  server::HttpOptions http;
  server::ApiOptions api;
  std::size_t body_mib = 100;
  int request_timeout = 600;
  int grace = 30;
};

std::string resident_memory() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return {};
  long size = 0, resident = 0;
  const int read = std::fscanf(file, "%ld %ld", &size, &resident);
  std::fclose(file);
  if (read != 2) return {};
  return server::metric("process_resident_memory_bytes", "gauge", "Memory that is in use.",
                        static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)));
}

int run(const ServeFlags& flags) {
  server::HttpOptions http = flags.http;
  http.body_bytes = flags.body_mib << 20;
  http.all_body_bytes = std::max(http.all_body_bytes, 2 * http.body_bytes);
  http.request_timeout = std::chrono::seconds(flags.request_timeout);
  http.grace = std::chrono::seconds(flags.grace);
  server::ApiOptions api_options = flags.api;
  api_options.loopback_only = server::is_loopback(http.host);
  api_options.body_bytes = http.body_bytes;
  api_options.max_pixels = flags.service.image.options.max_pixels;

  server::Service service(flags.service.options());
  server::Api api(service, api_options);
  server::HttpServer server(http, api);
  api.more_metrics = [&server] {
    const server::HttpServer::Counts counts = server.counts();
    return server::metric("blip_connections", "gauge", "Open connections.",
                          static_cast<double>(counts.connections)) +
           server::metric("blip_requests_working", "gauge", "Requests that are worked on.",
                          static_cast<double>(counts.working)) +
           server::metric("blip_body_bytes", "gauge", "Bytes of requests that are held.",
                          static_cast<double>(counts.body_bytes)) +
           resident_memory();
  };
  const bool v6 = http.host.find(':') != std::string::npos;
  std::fprintf(stderr, "blip: serving http://%s:%d/\n",
               (v6 ? "[" + http.host + "]" : http.host).c_str(), server.port());
  server.run();
  std::fprintf(stderr, "blip: stopped\n");
  return 0;
}

/// A variable that is not set must not leave a service open to all.
CLI::Validator not_empty() {
  return {[](const std::string& text) { return text.empty() ? "it is empty" : std::string(); }, ""};
}

void add_limits(CLI::App& command, ServeFlags& flags) {
  add_limit(command, "--max-queue", flags.http.queue,
            "requests that wait or are worked on; more get 503", kThreads);
  add_limit(command, "--max-connections", flags.http.connections, "open connections");
  add_limit(command, "--max-body-mib", flags.body_mib, "MiB of a request", {1, 1 << 20});
  add_limit(command, "--request-timeout", flags.request_timeout, "seconds that a request may take");
  add_limit(command, "--rate-limit", flags.api.requests_per_minute,
            "requests a minute that a client's address may send; 0: any number", {0, 1e9});
  add_limit(command, "--grace", flags.grace, "seconds that work may go on after SIGTERM", {0, 1e9});
}

}  // namespace

void add_serve_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand("serve", "Serve a web page and an HTTP API");
  const auto flags = std::make_shared<ServeFlags>();
  command->add_option("--host", flags->http.host, "address to listen at; 0.0.0.0: from everywhere")
      ->capture_default_str();
  command->add_option("--port", flags->http.port, "port; 0: any that is free")
      ->capture_default_str()
      ->check(CLI::Range(0, 65535));
  flags->service.add_to(*command);
  flags->service.polish.add_to(*command);
  command->add_option("--index", flags->service.index, "index to search in (see blip index)");
  command
      ->add_option("--token", flags->api.token,
                   "secret that clients must send as \"Authorization: Bearer TOKEN\"")
      ->check(not_empty())
      ->envname("BLIP_TOKEN");
  command->add_option("--cors-origin", flags->api.cors_origin,
                      "site whose pages may use the API, such as https://example.org; *: all");
  add_limits(*command, *flags);
  command->callback([flags, &status] { status = run(*flags); });

  // What the service starts to decode pictures; nothing for people.
  CLI::App* decoder = app.add_subcommand("decode-pictures", "")->group("");
  const auto max_pixels = std::make_shared<std::int64_t>(0);
  decoder->add_option("MAX_PIXELS", *max_pixels)->required();
  decoder->callback([max_pixels, &status] { status = server::decode_pictures(3, *max_pixels); });
}

}  // namespace blip::cli
