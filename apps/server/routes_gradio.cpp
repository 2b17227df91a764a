#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "apps/server/api.h"
#include "apps/server/gradio.h"
#include "apps/server/multipart.h"

namespace blip::server {
namespace {

constexpr std::size_t kMostUploads = 256;
constexpr std::size_t kMostUploadBytes = std::size_t{256} << 20;
constexpr std::size_t kMostEvents = 1024;
constexpr std::size_t kMostEventBytes = std::size_t{64} << 20;
constexpr std::chrono::minutes kLifetime(5);

Json gradio_shape(const Failure& failure) {
  return {{"error", failure.message}, {"detail", failure.message}};
}

std::string message(Json json) {
  return "data: " + dump(json) + "\n\n";
}

HttpResponse kept_alive_stream(std::string keep_alive) {
  HttpResponse head = event_stream();
  head.keep_alive = std::move(keep_alive);
  return head;
}

/// A call that was announced: its work begins when somebody listens.
struct Event {
  std::string session;  ///< empty: listened to by the event's id
  std::size_t function;
  Json data;
};

/// What uploads, announced calls and streams share. Of many threads.
class Gradio {
 public:
  explicit Gradio(Service& service) : service_(service) {}

  void upload(Exchange& exchange);
  void announce(Exchange& exchange, const std::string& function);
  void join(Exchange& exchange);
  /// One call's events.
  void listen(Exchange& exchange, const std::string& id);
  /// A session's calls, one after the other, until there are no more.
  void listen_to_session(Exchange& exchange);
  void cancel(Exchange& exchange);

 private:
  using Flag = std::shared_ptr<std::atomic<bool>>;

  void add(Exchange& exchange, Event event, std::size_t bytes);
  void run_in_session(const std::string& id, Event event, Exchange& exchange);
  Json run(const std::string& id, Event event, const Ticket& ticket, const Events& events);

  Service& service_;
  gradio::Uploads uploads_{{kMostUploads, kMostUploadBytes, kLifetime}};
  ExpiringStore<Event> events_{{kMostEvents, kMostEventBytes, kLifetime}};
  std::mutex mutex_;
  std::map<std::string, Flag> running_;  ///< by the event's id; set: cancelled. Guarded by mutex_
};

void Gradio::upload(Exchange& exchange) {
  const HttpRequest& request = exchange.request();
  const std::string_view type = request.header("Content-Type");
  if (!is_of_type(type, "multipart/form-data"))
    throw Error(ErrorCode::usage, "files must be uploaded as multipart/form-data");
  Json keys = Json::array();
  for (const Part& part : parse_multipart(request.body, boundary_of(type))) {
    if (part.name != "files" || part.filename.empty()) continue;
    keys.push_back(uploads_.put(std::string(part.body), part.body.size()));
  }
  if (keys.empty()) throw Error(ErrorCode::usage, "an upload must have a file named \"files\"");
  exchange.send(json_response(keys));
}

void Gradio::add(Exchange& exchange, Event event, std::size_t bytes) {
  if (!event.data.is_array()) throw Error(ErrorCode::usage, "\"data\" must be an array");
  exchange.send(json_response({{"event_id", events_.put(std::move(event), bytes)}}));
}

void Gradio::announce(Exchange& exchange, const std::string& name) {
  const std::string& body = exchange.request().body;
  const auto function = gradio::function_named(service_, name);
  if (!function) throw Error(ErrorCode::not_found, "there is no function " + in_quotes(name));
  Fields fields(parse_request_json(body), service_.text_limits());
  add(exchange, {"", *function, fields.take("data")}, body.size());
}

void Gradio::join(Exchange& exchange) {
  const std::string& body = exchange.request().body;
  Fields fields(parse_request_json(body), service_.text_limits());
  const auto function = fields.integer("fn_index", 0, INT32_MAX);
  if (!function || !gradio::is_function(service_, static_cast<std::size_t>(*function)))
    throw Error(ErrorCode::not_found, "\"fn_index\" must be the number of a function");
  const std::string session = fields.text("session_hash").value_or("");
  if (session.empty()) throw Error(ErrorCode::usage, "\"session_hash\" must be given");
  add(exchange, {session, static_cast<std::size_t>(*function), fields.take("data")}, body.size());
}

Json Gradio::run(const std::string& id, Event event, const Ticket& ticket, const Events& events) {
  const auto cancelled = std::make_shared<std::atomic<bool>>(false);
  {
    const std::lock_guard lock(mutex_);
    running_[id] = cancelled;
  }
  const auto done = [this, &id](void*) {
    const std::lock_guard lock(mutex_);
    running_.erase(id);
  };
  const std::unique_ptr<void, decltype(done)> guard(this, done);
  // Work ends at what is thrown when it tells how far it is.
  const Events checked = [&](const char* event_name, const Json& data) {
    if (*cancelled) throw Error(ErrorCode::cancelled, "the call was cancelled");
    events(event_name, data);
  };
  return gradio::call(service_, event.function, std::move(event.data), uploads_, ticket, checked);
}

void Gradio::listen(Exchange& exchange, const std::string& id) {
  std::optional<std::pair<std::string, Event>> event = events_.take_first(
      [&](const std::string& key, const Event& e) { return key == id && e.session.empty(); });
  if (!event) throw Error(ErrorCode::not_found, "there is no event " + in_quotes(id));
  exchange.begin(kept_alive_stream("event: heartbeat\ndata: null\n\n"));
  const Json data =
      run(id, std::move(event->second), exchange.ticket(), [](const char*, const Json&) {});
  exchange.write(server_sent_event("complete", data));
}

void Gradio::listen_to_session(Exchange& exchange) {
  const Json query = parse_query(exchange.request().query);
  const auto found = query.find("session_hash");
  if (found == query.end() || !found->is_string() || found->get_ref<const std::string&>().empty())
    throw Error(ErrorCode::usage, "\"session_hash\" must be given");
  const auto& session = found->get_ref<const std::string&>();
  exchange.begin(kept_alive_stream(message({{"msg", "heartbeat"}})));
  const auto of_session = [&](const std::string&, const Event& e) { return e.session == session; };
  while (auto next = events_.take_first(of_session))
    run_in_session(next->first, std::move(next->second), exchange);
  exchange.write(message({{"msg", "close_stream"}, {"event_id", nullptr}}));
}

void Gradio::run_in_session(const std::string& id, Event event, Exchange& exchange) {
  exchange.write(message({{"msg", "process_starts"}, {"event_id", id}, {"eta", nullptr}}));
  const Events events = [&](const char* name, const Json& data) {
    if (name != std::string_view("progress") || exchange.congested()) return;
    Json progress = {{"index", data.value("done", Json())},
                     {"length", data.value("of", Json())},
                     {"unit", "steps"},
                     {"progress", nullptr},
                     {"desc", data.value("stage", Json())}};
    exchange.write(message({{"msg", "progress"},
                            {"event_id", id},
                            {"progress_data", Json::array({std::move(progress)})}}));
  };
  const auto start = std::chrono::steady_clock::now();
  Json output;
  bool success = false;
  try {
    const Json data = run(id, std::move(event), exchange.ticket(), events);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    output = {{"data", data}, {"is_generating", false}, {"duration", took.count()}};
    success = true;
  } catch (const Error& e) {
    exchange.ticket().check();       // what ends all of the session's calls is no call's failure
    output = {{"error", e.what()}};  // the clients take nothing else beside it
  }
  exchange.write(message({{"msg", "process_completed"},
                          {"event_id", id},
                          {"output", std::move(output)},
                          {"success", success}}));
}

void Gradio::cancel(Exchange& exchange) {
  Fields fields(parse_request_json(exchange.request().body), service_.text_limits());
  const std::string id = fields.text("event_id").value_or("");
  events_.take(id);
  const std::lock_guard lock(mutex_);
  const auto found = running_.find(id);
  if (found != running_.end()) *found->second = true;
  exchange.send(json_response({{"success", true}}));
}

}  // namespace

void add_gradio_routes(Router& router, Service& service, std::size_t body_bytes) {
  const auto gradio = std::make_shared<Gradio>(service);
  const auto work = [&](const char* method, const char* pattern, Router::Work answer) {
    router.work(method, pattern, std::move(answer), gradio_shape);
  };
  router.at_once(
      "GET", "/config",
      [&service, body_bytes](const HttpRequest&, const Captures&) {
        return json_response(gradio::config(service, body_bytes));
      },
      gradio_shape);
  router.at_once(
      "GET", "/gradio_api/info",
      [&service](const HttpRequest&, const Captures&) {
        return json_response(gradio::info(service));
      },
      gradio_shape);
  work("POST", "/gradio_api/upload",
       [gradio](Exchange& exchange, const Captures&) { gradio->upload(exchange); });
  work("POST", "/gradio_api/call/{function}",
       [gradio](Exchange& exchange, const Captures& c) { gradio->announce(exchange, c[0]); });
  work("GET", "/gradio_api/call/{function}/{event}",
       [gradio](Exchange& exchange, const Captures& c) { gradio->listen(exchange, c[1]); });
  work("POST", "/gradio_api/queue/join",
       [gradio](Exchange& exchange, const Captures&) { gradio->join(exchange); });
  work("GET", "/gradio_api/queue/data",
       [gradio](Exchange& exchange, const Captures&) { gradio->listen_to_session(exchange); });
  for (const char* pattern : {"/gradio_api/cancel", "/gradio_api/reset"})
    work("POST", pattern,
         [gradio](Exchange& exchange, const Captures&) { gradio->cancel(exchange); });
}

}  // namespace blip::server
