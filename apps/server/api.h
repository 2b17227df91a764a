#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "apps/server/http.h"
#include "apps/server/metrics.h"
#include "apps/server/router.h"
#include "apps/server/service.h"
#include "blip/base/error.h"

namespace blip::server {

struct ApiOptions {
  std::string token;                    ///< that clients must show; empty: none
  std::string cors_origin;              ///< whose pages may use the API; "*": all; empty: none
  std::size_t requests_per_minute = 0;  ///< of one client's address; 0: as many as it likes
  bool loopback_only = true;            ///< the server listens to this machine alone
  std::size_t body_bytes = 0;           ///< for /v1/info
  std::int64_t max_pixels = 0;          ///< for /v1/info
};

/// Everything that is served, over one Service: decides who may ask, finds the route, turns errors
/// into answers, and counts.
class Api final : public HttpHandler {
 public:
  Api(Service& service, const ApiOptions& options);

  std::optional<HttpResponse> refuse(const HttpRequest& request) override;
  std::optional<HttpResponse> answer_at_once(const HttpRequest& request) override;
  void handle(Exchange& exchange) override;
  HttpResponse error(int status, const std::string& message, const HttpRequest* request) override;
  /// /readyz, and what other protocols have in its place, answer 503 from now on.
  void stopping() override { stopping_ = true; }

  const Router& router() const { return router_; }
  /// More lines for /metrics, such as the server's own counts.
  std::function<std::string()> more_metrics;

 private:
  bool knows_token(const HttpRequest& request) const;
  bool is_foreign(const HttpRequest& request) const;
  bool takes_too_much(const std::string& client);
  void add_cors(HttpResponse& response) const;
  void add_own_routes();

  Service& service_;
  ApiOptions options_;
  Router router_;
  Metrics metrics_;
  std::atomic<bool> stopping_{false};

  struct Bucket {
    double tokens;
    std::chrono::steady_clock::time_point at;
  };
  std::map<std::string, Bucket> buckets_;  ///< of the network's thread
};

/// Routes of one kind each; docs/service.md lists them.
void add_page_routes(Router& router);
void add_v1_routes(Router& router, Service& service);
void add_openai_routes(Router& router, Service& service);
void add_huggingface_routes(Router& router, Service& service);
void add_a1111_routes(Router& router, Service& service);
void add_kserve_routes(Router& router, Service& service, const std::atomic<bool>& stopping);
void add_gradio_routes(Router& router, Service& service, std::size_t body_bytes);
void add_mcp_routes(Router& router, Service& service);

/// Of an Error that ended a request, whose ticket says why where it was cancelled.
Failure failure_of(const Error& error, const Ticket& ticket);
/// As `shape` writes it; none: {"error": {"code", "message"}}.
HttpResponse error_response(const Failure& failure, FailureShape shape = nullptr);
HttpResponse json_response(const Json& json);
/// The head of a stream of events.
HttpResponse event_stream();
/// Whether `host`, a name or an address, is this machine.
bool is_loopback(std::string_view host);
/// "event: NAME\ndata: JSON\n\n"
std::string server_sent_event(std::string_view event, const Json& data);

}  // namespace blip::server
