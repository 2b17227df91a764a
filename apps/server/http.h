#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/server/ticket.h"

namespace blip::server {

/// A request whose head was read; the body comes later.
struct HttpRequest {
  std::string method;
  std::string path;   ///< as it was sent, without the query
  std::string query;  ///< behind the "?"
  std::vector<std::pair<std::string, std::string>> headers;
  std::string client;  ///< address
  std::string body;

  /// The first header of that name (any case), or an empty text.
  std::string_view header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string keep_alive = ":\n\n";  ///< what a stream says after a while of silence
};

/// How a request is answered from its own thread: whole by send(), or piece by piece. Calls never
/// block; what a client does not take is dropped with the connection.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual HttpRequest& request() = 0;
  virtual const Ticket& ticket() const = 0;
  /// Ends the ticket as Ending::cancelled. From any thread, as long as the exchange lives.
  virtual void cancel() {}
  virtual void send(HttpResponse response) = 0;
  /// Begins a stream of events (text/event-stream); `response` has no body.
  virtual void begin(HttpResponse response) = 0;
  virtual void write(std::string piece) = 0;
  /// Whether so much waits to be written that what can be left out should be.
  virtual bool congested() const = 0;
};

/// What answers requests.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  /// Called when the head was read, on the network's thread: an answer refuses the request, whose
  /// body is then not read.
  virtual std::optional<HttpResponse> refuse(const HttpRequest& request) = 0;
  /// An answer that takes no time, on the network's thread; without one, handle() is called.
  virtual std::optional<HttpResponse> answer_at_once(const HttpRequest& request) = 0;
  /// Answers on a thread of its own. Must not throw.
  virtual void handle(Exchange& exchange) = 0;
  /// For what the network itself has to say: 400, 413, 431, 503. `request`: whose head was read, or
  /// null.
  virtual HttpResponse error(int status, const std::string& message,
                             const HttpRequest* request) = 0;
  /// The server is to stop: called once, before it refuses the first request because of that.
  virtual void stopping() {}
};

struct HttpOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 29999;                           ///< 0: any that is free
  std::size_t body_bytes = std::size_t{100} << 20;      ///< of a request
  std::size_t all_body_bytes = std::size_t{512} << 20;  ///< of all requests together
  std::size_t connections = 1024;
  std::size_t queue = 64;  ///< requests that are worked on or wait
  std::chrono::seconds head_timeout{10};
  std::chrono::seconds body_timeout{60};
  std::chrono::seconds idle_timeout{60};      ///< between requests of a connection
  std::chrono::seconds write_timeout{30};     ///< without the client taking anything
  std::chrono::seconds request_timeout{600};  ///< of work; then the request's ticket ends
  std::chrono::seconds grace{30};             ///< that work may go on after a stop was asked for
};

/// An HTTP/1.1 server: one thread for the network, and one for each request that is worked on.
class HttpServer {
 public:
  /// Opens the port. Throws Error{io} when it cannot.
  HttpServer(const HttpOptions& options, HttpHandler& handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::uint16_t port() const;
  /// Serves until SIGTERM, SIGINT or stop(): then it finishes what it took, and returns. Meanwhile
  /// it answers 503 to new requests, but what is answered at once, as before. A second signal ends
  /// that too.
  void run();
  /// From any thread.
  void stop();

  struct Counts {
    std::size_t connections = 0;
    std::size_t working = 0;
    std::size_t body_bytes = 0;  ///< held
  };
  Counts counts() const;

 private:
  struct Data;
  std::unique_ptr<Data> data_;
};

}  // namespace blip::server
