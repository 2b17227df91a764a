#include "apps/server/api.h"

#include <algorithm>
#include <new>
#include <utility>

#include "apps/server/page_files.h"

namespace blip::server {
namespace {

constexpr std::size_t kMostClients = 10000;

int http_status(ErrorCode code) {
  switch (code) {
    case ErrorCode::usage:
      return 400;
    case ErrorCode::not_found:
      return 404;
    case ErrorCode::bad_image:
    case ErrorCode::unsupported:  // not 501: clients try again what a server says with 5xx
      return 422;
    case ErrorCode::too_large:
      return 413;
    case ErrorCode::cancelled:
      return 503;
    case ErrorCode::io:
    case ErrorCode::bad_model:
    case ErrorCode::internal:
      break;
  }
  return 500;
}

/// The host of "host:port", "[::1]:port" or "http://host:port".
std::string_view host_of(std::string_view authority) {
  if (const std::size_t scheme = authority.find("://"); scheme != std::string_view::npos)
    authority.remove_prefix(scheme + 3);
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.find(':'));
}

/// Takes as long whatever the first difference is.
bool same_secret(std::string_view a, std::string_view b) {
  unsigned different = a.size() != b.size();
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    different |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  return different == 0;
}

Json own_shape(const Failure& failure) {
  return {{"error", {{"code", failure.code}, {"message", failure.message}}}};
}

/// Counts an exchange when it is over, whoever answers it.
class Counted final : public Exchange {
 public:
  Counted(Exchange& inner, Metrics& metrics, std::string route,
          std::function<void(HttpResponse&)> dress)
      : inner_(inner), metrics_(metrics), route_(std::move(route)), dress_(std::move(dress)) {}
  ~Counted() override {
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start_;
    metrics_.count(route_, ticket().ending() == Ending::client_left ? 499 : status_, took.count());
  }

  HttpRequest& request() override { return inner_.request(); }
  const Ticket& ticket() const override { return inner_.ticket(); }
  void cancel() override { inner_.cancel(); }
  void send(HttpResponse response) override {
    status_ = response.status;
    dress_(response);
    inner_.send(std::move(response));
  }
  void begin(HttpResponse response) override {
    status_ = response.status;
    dress_(response);
    begun_ = true;
    inner_.begin(std::move(response));
  }
  void write(std::string piece) override { inner_.write(std::move(piece)); }
  bool congested() const override { return inner_.congested(); }

  bool begun() const { return begun_; }
  void failed(int status) { status_ = status; }

 private:
  Exchange& inner_;
  Metrics& metrics_;
  std::string route_;
  std::function<void(HttpResponse&)> dress_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  int status_ = 500;
  bool begun_ = false;
};

}  // namespace

// A name may begin with "127." too ("127.example.org") and belong to anyone.
bool is_loopback(std::string_view host) {
  const bool v4 =
      host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string_view::npos;
  return v4 || host == "localhost" || host == "::1" || host == "[::1]";
}

HttpResponse event_stream() {
  HttpResponse head{200, "text/event-stream", ""};
  head.headers = {{"Cache-Control", "no-store"}};
  return head;
}

std::string server_sent_event(std::string_view event, const Json& data) {
  return "event: " + std::string(event) + "\ndata: " + dump(data) + "\n\n";
}

HttpResponse json_response(const Json& json) {
  return {200, "application/json", dump(json)};
}

Failure failure_of(const Error& error, const Ticket& ticket) {
  if (error.code() == ErrorCode::cancelled) {
    if (ticket.ending() == Ending::deadline)
      return {504, "timeout", "the request took longer than it may"};
    return {503, "overloaded", "the service is stopping"};
  }
  return {http_status(error.code()), std::string(name(error.code())), error.what()};
}

HttpResponse error_response(const Failure& failure, FailureShape shape) {
  HttpResponse response{failure.status, "application/json",
                        dump((shape != nullptr ? shape : own_shape)(failure))};
  if (failure.status == 503 || failure.status == 429) response.headers = {{"Retry-After", "2"}};
  if (failure.status == 401) response.headers = {{"WWW-Authenticate", "Bearer"}};
  return response;
}

Api::Api(Service& service, const ApiOptions& options) : service_(service), options_(options) {
  add_own_routes();
  add_v1_routes(router_, service_);
  add_mcp_routes(router_, service_);
  add_page_routes(router_);
  add_openai_routes(router_, service_);
  add_huggingface_routes(router_, service_);
  add_a1111_routes(router_, service_);
  add_kserve_routes(router_, service_, stopping_);
  add_gradio_routes(router_, service_, options_.body_bytes);
}

HttpResponse Api::error(int status, const std::string& message, const HttpRequest* request) {
  const char* code = status == 503 ? "overloaded" : status == 413 ? "too_large" : "usage";
  metrics_.count("none", status, 0);
  const Router::Route* route =
      request != nullptr ? router_.find(request->method, request->path).route : nullptr;
  return error_response({status, code, message}, route != nullptr ? route->shape : nullptr);
}

std::optional<HttpResponse> Api::refuse(const HttpRequest& request) {
  const auto refused = [&](HttpResponse response) {
    add_cors(response);
    metrics_.count("none", response.status, 0);
    return response;
  };
  const Router::Found found = router_.find(request.method, request.path);
  const FailureShape shape = found.route != nullptr ? found.route->shape : nullptr;
  if (is_foreign(request)) {
    return refused(error_response({403, "forbidden",
                                   "requests of other sites' pages are not answered (see "
                                   "--cors-origin)"},
                                  shape));
  }
  if (request.method == "OPTIONS") {
    HttpResponse response{204, "text/plain", ""};
    response.headers = {{"Access-Control-Allow-Methods", "GET, POST, DELETE"},
                        {"Access-Control-Allow-Headers", "Authorization, *"},
                        {"Access-Control-Max-Age", "600"}};
    return refused(std::move(response));
  }
  if (found.route == nullptr) {
    if (found.allowed.empty())
      return refused(
          error_response({404, "not_found", "there is nothing at " + in_quotes(request.path)}));
    HttpResponse response = error_response(
        {405, "usage", in_quotes(request.path) + " answers " + found.allowed + " alone"});
    response.headers = {{"Allow", found.allowed}};
    return refused(std::move(response));
  }
  if (found.route->work && !knows_token(request))
    return refused(error_response({401, "unauthorized", "the service asks for its token"}, shape));
  if (found.route->work && takes_too_much(request.client)) {
    const std::size_t most = options_.requests_per_minute;
    HttpResponse response =
        error_response({429, "rate_limited",
                        "a client may send so many requests a minute: " + std::to_string(most)},
                       shape);
    response.headers = {{"Retry-After", std::to_string((60 + most - 1) / most)}};
    return refused(std::move(response));
  }
  return {};
}

std::optional<HttpResponse> Api::answer_at_once(const HttpRequest& request) {
  const Router::Found found = router_.find(request.method, request.path);
  if (!found.route->at_once) return {};
  HttpResponse response;
  try {
    response = found.route->at_once(request, found.captures);
  } catch (const Error& e) {
    response = error_response(failure_of(e, Ticket()), found.route->shape);
  }
  add_cors(response);
  metrics_.count(found.route->pattern, response.status, 0);
  return response;
}

void Api::handle(Exchange& exchange) {
  const Router::Found found = router_.find(exchange.request().method, exchange.request().path);
  Counted counted(exchange, metrics_, found.route->pattern,
                  [this](HttpResponse& response) { add_cors(response); });
  Failure failure;
  try {
    return found.route->work(counted, found.captures);
  } catch (const Error& e) {
    failure = failure_of(e, exchange.ticket());
  } catch (const std::bad_alloc&) {
    failure = {503, "overloaded", "the service has no memory left for this"};
  } catch (const std::exception& e) {
    failure = {500, "internal", e.what()};
  }
  HttpResponse response = error_response(failure, found.route->shape);
  if (counted.begun()) {
    counted.failed(response.status);
    counted.write("event: error\ndata: " + response.body + "\n\n");
  } else {
    counted.send(std::move(response));
  }
}

bool Api::knows_token(const HttpRequest& request) const {
  if (options_.token.empty()) return true;
  const std::string_view given = request.header("Authorization");
  return given.starts_with("Bearer ") && same_secret(given.substr(7), options_.token);
}

// A page of another site can send requests to this machine though it may not read the answers; and
// by a name that it controls (DNS rebinding) it may even do that.
bool Api::is_foreign(const HttpRequest& request) const {
  const std::string_view host = request.header("Host");
  const std::string_view machine = host_of(host);
  if (options_.loopback_only && !machine.empty() && !is_loopback(machine)) return true;
  const std::string_view origin = request.header("Origin");
  if (origin.empty() || options_.cors_origin == "*" || options_.cors_origin == origin) return false;
  const std::size_t scheme = origin.find("://");
  return scheme == std::string_view::npos || origin.substr(scheme + 3) != host;
}

void Api::add_cors(HttpResponse& response) const {
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  if (options_.cors_origin.empty()) return;
  response.headers.emplace_back("Access-Control-Allow-Origin", options_.cors_origin);
  response.headers.emplace_back("Access-Control-Expose-Headers", "Mcp-Session-Id");
  response.headers.emplace_back("Vary", "Origin");
}

// A bucket that holds a minute's requests and fills evenly.
bool Api::takes_too_much(const std::string& client) {
  const auto most = static_cast<double>(options_.requests_per_minute);
  if (most <= 0) return false;
  const auto now = std::chrono::steady_clock::now();
  const auto filled = [&](const Bucket& bucket) {
    return std::min(
        most, bucket.tokens + std::chrono::duration<double>(now - bucket.at).count() * most / 60);
  };
  if (buckets_.size() >= kMostClients)
    std::erase_if(buckets_, [&](const auto& entry) { return filled(entry.second) >= most; });
  if (buckets_.size() >= kMostClients && !buckets_.contains(client)) return true;
  Bucket& bucket = buckets_.try_emplace(client, Bucket{most, now}).first->second;
  bucket = {filled(bucket), now};
  if (bucket.tokens < 1) return true;
  bucket.tokens -= 1;
  return false;
}

void Api::add_own_routes() {
  router_.at_once("GET", "/healthz", [](const HttpRequest&, const Captures&) {
    return HttpResponse{200, "text/plain", "ok\n"};
  });
  router_.at_once("GET", "/readyz", [this](const HttpRequest&, const Captures&) {
    return stopping_ ? HttpResponse{503, "text/plain", "stopping\n"}
                     : HttpResponse{200, "text/plain", "ready\n"};
  });
  router_.at_once("GET", "/openapi.json", [](const HttpRequest&, const Captures&) {
    return HttpResponse{200, "application/json", std::string(openapi_json())};
  });
  router_.at_once("GET", "/v1/info", [this](const HttpRequest&, const Captures&) {
    Json info = service_.info();
    const TextLimits& texts = service_.text_limits();
    info["limits"] = {{"body_bytes", options_.body_bytes},
                      {"pixels", options_.max_pixels},
                      {"texts", texts.count},
                      {"text_bytes", texts.bytes}};
    info["polish"] = service_.polishes();
    return json_response(info);
  });
  router_.at_once("GET", "/metrics", [this](const HttpRequest&, const Captures&) {
    const Scheduler::Counts counts = service_.counts();
    std::string text = metrics_.text();
    text += metric("blip_calls_waiting", "gauge", "Model calls that have not begun.",
                   static_cast<double>(counts.waiting));
    text += metric("blip_texts_writing", "gauge", "Texts that are written together at present.",
                   static_cast<double>(counts.writing));
    text += metric("blip_decoder_steps_total", "counter", "Tokens that batches went further by.",
                   static_cast<double>(counts.steps));
    text += metric("blip_decoder_rows_total", "counter", "Sequences in all these steps.",
                   static_cast<double>(counts.rows));
    text += metric("blip_picture_decoder_crashes_total", "counter",
                   "Picture decoders that failed or were too slow, and were started anew.",
                   static_cast<double>(service_.decoder_crashes()));
    if (more_metrics) text += more_metrics();
    return HttpResponse{200, "text/plain; version=0.0.4", std::move(text)};
  });
}

}  // namespace blip::server
