#include "apps/server/http_connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace blip::server {
namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
using tcp = net::ip::tcp;
using boost::system::error_code;

constexpr auto kKeepAlive = std::chrono::seconds(15);
constexpr auto kQuiet = net::use_awaitable;

}  // namespace

net::awaitable<void> Connection::write_answer(unsigned version) {
  watch();
  bool answered = false;
  while (!answer->finished() && answer->own_ticket.ending() != Ending::client_left) {
    if (std::optional<HttpResponse> head = answer->take_head()) {
      answered = true;
      if (answer->streamed()) {
        co_await write_stream(*head, version);
      } else {
        co_await respond(std::move(*head), version);
      }
      continue;
    }
    co_await wait();
  }
  error_code ignored;
  stream.socket().cancel(ignored);  // the watch
  answer->watched = false;
  answer.reset();
  if (!answered) close = true;
}

// Until something changed, but not longer than kKeepAlive; ends work whose time is over.
net::awaitable<void> Connection::wait() {
  const auto now = net::steady_timer::clock_type::now();
  auto until = now + kKeepAlive;
  if (!answer->own_ticket.ended()) until = std::min(until, answer->deadline);
  answer->changed.expires_at(until);
  error_code ignored;
  if (!answer->finished()) co_await answer->changed.async_wait(into(ignored));
  if (net::steady_timer::clock_type::now() >= answer->deadline)
    answer->own_ticket.end(Ending::deadline);
}

// When the client leaves while its request is worked on, the work ends.
void Connection::watch() {
  tcp::socket& socket = stream.socket();
  socket.async_wait(tcp::socket::wait_read, [&socket, answer = answer](error_code failed) {
    if (failed || !answer->watched) return;
    char next;
    const ssize_t got = ::recv(socket.native_handle(), &next, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR))) return;
    answer->own_ticket.end(Ending::client_left);
    answer->changed.cancel();
  });
}

net::awaitable<void> Connection::write_stream(const HttpResponse& head, unsigned version) {
  http::response<http::empty_body> message(static_cast<http::status>(head.status), version);
  const bool chunked = version == 11;
  if (!chunked) close = true;
  add_headers(message, head);
  message.chunked(chunked);
  http::response_serializer<http::empty_body> serializer(message);
  stream.expires_after(options_.write_timeout);
  co_await http::async_write_header(stream, serializer, kQuiet);
  while (!answer->finished() && answer->own_ticket.ending() != Ending::client_left) {
    if (const std::optional<std::string> piece = answer->take_piece()) {
      stream.expires_after(options_.write_timeout);
      if (chunked) {
        co_await net::async_write(stream, http::make_chunk(net::buffer(*piece)), kQuiet);
      } else {
        co_await net::async_write(stream, net::buffer(*piece), kQuiet);
      }
      continue;
    }
    stream.expires_never();
    const auto before = net::steady_timer::clock_type::now();
    co_await wait();
    // A word now and then tells proxies, and a client that is gone, that this goes on.
    if (net::steady_timer::clock_type::now() - before >= kKeepAlive) answer->write(head.keep_alive);
  }
  stream.expires_after(options_.write_timeout);
  if (chunked) co_await net::async_write(stream, http::make_chunk_last(), kQuiet);
}

net::awaitable<void> Connection::respond(HttpResponse response, unsigned version, bool body) {
  http::response<http::string_body> message(static_cast<http::status>(response.status), version);
  add_headers(message, response);
  message.body() = std::move(response.body);
  message.prepare_payload();
  http::response_serializer<http::string_body> serializer(message);
  serializer.split(!body);
  stream.expires_after(options_.write_timeout);
  if (body) {
    co_await http::async_write(stream, serializer, kQuiet);
  } else {
    co_await http::async_write_header(stream, serializer, kQuiet);
  }
}

net::awaitable<void> Connection::refuse(HttpResponse response, unsigned version) {
  close = true;
  co_await respond(std::move(response), version);
  co_await linger();
}

// A connection that is closed while its client still writes is reset, and the client never reads
// why it was refused: so what it writes is taken and dropped for a moment, however much it is.
net::awaitable<void> Connection::linger() {
  error_code failed;
  stream.socket().shutdown(tcp::socket::shutdown_send, failed);
  stream.expires_after(std::chrono::seconds(2));
  std::vector<char> dropped(65536);
  while (!failed) co_await stream.async_read_some(net::buffer(dropped), into(failed));
}

}  // namespace blip::server
