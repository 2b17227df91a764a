#include "apps/server/http.h"

#include <algorithm>
#include <atomic>
#include <list>

#include "apps/server/http_connection.h"
#include "blip/base/error.h"

namespace blip::server {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = net::ip::tcp;
using boost::system::error_code;

using BodyParser = http::request_parser<http::string_body>;

constexpr std::size_t kHeadBytes = 16 * 1024;

HttpRequest head_of(const http::request<http::string_body>& message, const tcp::socket& socket) {
  HttpRequest request;
  request.method = std::string(message.method_string());
  const std::string_view target(message.target().data(), message.target().size());
  const std::size_t mark = target.find('?');
  request.path = target.substr(0, mark);
  if (mark != std::string_view::npos) request.query = target.substr(mark + 1);
  for (const auto& field : message)
    request.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  error_code ignored;
  request.client = socket.remote_endpoint(ignored).address().to_string();
  return request;
}

/// Gives back what it holds of a shared budget.
class Hold {
 public:
  explicit Hold(std::atomic<std::size_t>& budget) : budget_(budget) {}
  ~Hold() { budget_ -= amount_; }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

  void grow_to(std::size_t amount) {
    budget_ += amount - amount_;
    amount_ = amount;
  }

 private:
  std::atomic<std::size_t>& budget_;
  std::size_t amount_ = 0;
};

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (beast::iequals({key.data(), key.size()}, {name.data(), name.size()})) return value;
  }
  return {};
}

struct HttpServer::Data {
  Data(const HttpOptions& o, HttpHandler& h)
      : options(o), handler(h), acceptor(io), signals(io), grace(io), workers(o.queue) {}

  HttpResponse too_large(const HttpRequest* request);
  HttpResponse head_problem(error_code failed);
  // GCC 12 destroys temporaries of an expression with co_await and ?: twice, so what is passed to
  // these is made before.
  net::awaitable<void> accept();
  net::awaitable<void> serve(tcp::socket socket);
  net::awaitable<bool> next_request(Connection& c);
  net::awaitable<void> read_body(Connection& c, BodyParser& parser, Hold& held, error_code& failed);
  net::awaitable<void> work(Connection& c, HttpRequest request, unsigned version);
  net::awaitable<void> turn_away(Connection& c, const HttpRequest& request, bool has_body,
                                 unsigned version);
  void begin_stop();
  void end_when_finished();
  void give_up();

  HttpOptions options;
  HttpHandler& handler;
  net::io_context io{1};
  tcp::acceptor acceptor;
  net::signal_set signals;
  net::steady_timer grace;
  net::thread_pool workers;
  std::list<Connection*> open;  ///< of the network's thread
  bool stopping = false;        ///< of the network's thread
  std::atomic<std::size_t> connections{0};
  std::atomic<std::size_t> working{0};
  std::atomic<std::size_t> body_bytes{0};
};

HttpServer::HttpServer(const HttpOptions& options, HttpHandler& handler)
    : data_(std::make_unique<Data>(options, handler)) {
  try {
    tcp::resolver resolver(data_->io);
    const tcp::endpoint endpoint =
        resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive)
            .begin()
            ->endpoint();
    data_->acceptor.open(endpoint.protocol());
    data_->acceptor.set_option(tcp::acceptor::reuse_address(true));
    data_->acceptor.bind(endpoint);
    data_->acceptor.listen();
    data_->signals.add(SIGINT);
    data_->signals.add(SIGTERM);
  } catch (const boost::system::system_error& e) {
    throw Error(ErrorCode::io, "cannot serve at " + options.host + ":" +
                                   std::to_string(options.port) + ": " + e.code().message());
  }
}

HttpServer::~HttpServer() {
  data_->workers.join();
}

std::uint16_t HttpServer::port() const {
  return data_->acceptor.local_endpoint().port();
}

HttpServer::Counts HttpServer::counts() const {
  return {data_->connections, data_->working, data_->body_bytes};
}

void HttpServer::run() {
  data_->signals.async_wait([this](error_code failed, int) {
    if (failed) return;
    data_->signals.async_wait([this](error_code again, int) {
      if (!again) data_->give_up();
    });
    data_->begin_stop();
  });
  net::co_spawn(data_->io, data_->accept(), net::detached);
  data_->io.run();
  data_->workers.join();
}

void HttpServer::stop() {
  net::post(data_->io, [this] { data_->begin_stop(); });
}

// The port stays open, so that who asks hears that the service is stopping.
void HttpServer::Data::begin_stop() {
  if (stopping) return;
  stopping = true;
  handler.stopping();
  for (Connection* c : open) {
    if (c->idle) c->stream.close();
  }
  grace.expires_after(options.grace);
  grace.async_wait([this](error_code failed) {
    if (!failed) give_up();
  });
  end_when_finished();
}

// Connections that came before the stop are those whose requests were taken. When the last is gone,
// nothing is to keep the network's thread.
void HttpServer::Data::end_when_finished() {
  if (!stopping || std::any_of(open.begin(), open.end(), [](Connection* c) { return !c->late; }))
    return;
  error_code ignored;
  acceptor.close(ignored);
  signals.cancel(ignored);
  grace.cancel();
  for (Connection* c : open) c->stream.close();
}

// Ends what is worked on, and does not wait any longer for requests that are only half there.
void HttpServer::Data::give_up() {
  for (Connection* c : open) {
    if (c->answer) {
      c->answer->own_ticket.end(Ending::shutdown);
    } else {
      c->stream.close();
    }
  }
}

net::awaitable<void> HttpServer::Data::accept() {
  for (;;) {
    error_code failed;
    tcp::socket socket = co_await acceptor.async_accept(into(failed));
    if (!acceptor.is_open()) co_return;
    if (failed || open.size() >= options.connections) {
      // Out of descriptors, or of places: whoever waits is taken when another has left.
      if (!failed) socket.close(failed);
      net::steady_timer pause(io, std::chrono::milliseconds(20));
      co_await pause.async_wait(into(failed));
      continue;
    }
    socket.set_option(tcp::no_delay(true), failed);
    net::co_spawn(io, serve(std::move(socket)), net::detached);
  }
}

net::awaitable<void> HttpServer::Data::serve(tcp::socket socket) {
  Connection c(std::move(socket), options, kHeadBytes + 65536);
  c.late = stopping;
  const auto place = open.insert(open.end(), &c);
  ++connections;
  c.stream.expires_after(options.head_timeout);
  try {
    while (co_await next_request(c)) {
      c.idle = true;
      if (stopping) break;
      c.stream.expires_after(options.idle_timeout);
    }
  } catch (const std::exception&) {
    // The connection is of no use any more, whatever it was.
  }
  if (c.answer) {
    c.answer->own_ticket.end(Ending::client_left);
    c.answer->watched = false;
  }
  error_code ignored;
  c.stream.socket().shutdown(tcp::socket::shutdown_both, ignored);
  open.erase(place);
  --connections;
  end_when_finished();
}

HttpResponse HttpServer::Data::too_large(const HttpRequest* request) {
  return handler.error(
      413, "a request's body must have at most " + std::to_string(options.body_bytes) + " bytes",
      request);
}

HttpResponse HttpServer::Data::head_problem(error_code failed) {
  if (failed == http::error::header_limit)
    return handler.error(431, "the headers are too long", nullptr);
  if (failed == http::error::body_limit) return too_large(nullptr);
  return handler.error(400, "the request is not HTTP", nullptr);
}

// Reads a request and answers it; false when the connection is to be closed. The caller has set the
// time in which the head must come.
net::awaitable<bool> HttpServer::Data::next_request(Connection& c) {
  BodyParser parser;
  parser.header_limit(kHeadBytes);
  parser.body_limit(options.body_bytes);
  error_code failed;
  co_await http::async_read_header(c.stream, c.buffer, parser, into(failed));
  c.idle = false;
  const unsigned version = parser.get().version() == 10 ? 10 : 11;
  if (failed) {
    const bool said_something = parser.got_some();
    if (failed == http::error::end_of_stream || !said_something) co_return false;
    if (failed == beast::error::timeout) co_return false;
    HttpResponse problem = head_problem(failed);
    co_await c.refuse(std::move(problem), version);
    co_return false;
  }
  HttpRequest request = head_of(parser.get(), c.stream.socket());
  c.close = !parser.keep_alive() || stopping;
  const auto length = parser.content_length();
  const bool has_body = parser.chunked() || (length && *length > 0);
  if (auto refusal = handler.refuse(request)) {
    if (has_body) {
      co_await c.refuse(std::move(*refusal), version);
      co_return false;
    }
    co_await c.respond(std::move(*refusal), version, request.method != "HEAD");
    co_return !c.close;
  }
  if (c.late) {
    co_await turn_away(c, request, has_body, version);
    co_return false;
  }
  if (length && *length > options.body_bytes) {
    HttpResponse problem = too_large(&request);
    co_await c.refuse(std::move(problem), version);
    co_return false;
  }
  Hold held(body_bytes);
  if (has_body) {
    c.stream.expires_after(options.body_timeout);
    if (request.header("Expect") == "100-continue") {
      static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
      co_await net::async_write(c.stream, net::buffer(kContinue), into(failed));
    }
    co_await read_body(c, parser, held, failed);
    if (!failed && !parser.is_done()) {
      HttpResponse problem =
          handler.error(503, "the service holds too many large requests", &request);
      co_await c.refuse(std::move(problem), version);
      co_return false;
    }
    if (failed == http::error::body_limit || failed == http::error::bad_chunk ||
        failed == http::error::bad_chunk_extension) {
      HttpResponse problem = failed == http::error::body_limit
                                 ? too_large(&request)
                                 : handler.error(400, "the request's body is malformed", &request);
      co_await c.refuse(std::move(problem), version);
      co_return false;
    }
    if (failed) co_return false;
    request.body = std::move(parser.get().body());
  }
  if (auto answer = handler.answer_at_once(request)) {
    co_await c.respond(std::move(*answer), version, request.method != "HEAD");
  } else if (working >= options.queue) {
    HttpResponse problem =
        handler.error(503, "the service has as many requests as it takes", &request);
    co_await c.respond(std::move(problem), version);
  } else {
    co_await work(c, std::move(request), version);
  }
  co_return !c.close;
}

// Until the body is there, or all bodies together are too many. What has come counts, not what is
// announced: that would let a few who send nothing keep everyone else out.
net::awaitable<void> HttpServer::Data::read_body(Connection& c, BodyParser& parser, Hold& held,
                                                 error_code& failed) {
  parser.eager(true);
  while (!parser.is_done() && !failed && body_bytes <= options.all_body_bytes) {
    co_await http::async_read_some(c.stream, c.buffer, parser, into(failed));
    held.grow_to(parser.get().body().size());
  }
}

// Answers what needs no work, and refuses the rest, while the server is stopping.
net::awaitable<void> HttpServer::Data::turn_away(Connection& c, const HttpRequest& request,
                                                 bool has_body, unsigned version) {
  std::optional<HttpResponse> answer = handler.answer_at_once(request);
  if (!answer) answer = handler.error(503, "the service is stopping", &request);
  if (has_body) {
    co_await c.refuse(std::move(*answer), version);
  } else {
    c.close = true;
    co_await c.respond(std::move(*answer), version, request.method != "HEAD");
  }
}

// Has a thread answer, and writes what it answers.
net::awaitable<void> HttpServer::Data::work(Connection& c, HttpRequest request, unsigned version) {
  const auto answer = std::make_shared<Answer>(io.get_executor(), std::move(request));
  answer->deadline = net::steady_timer::clock_type::now() + options.request_timeout;
  c.answer = answer;
  c.stream.expires_never();
  ++working;
  net::post(workers, [this, answer] {
    handler.handle(*answer);
    --working;
    answer->finish();
  });
  co_await c.write_answer(version);
}

}  // namespace blip::server
