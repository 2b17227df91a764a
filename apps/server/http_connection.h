#pragma once

#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "apps/server/http.h"

/// The network's side of a connection; http.cpp reads requests from it.
namespace blip::server {

/// Completion of a coroutine's call that gives its error instead of throwing it.
inline auto into(boost::system::error_code& failed) {
  return boost::asio::redirect_error(boost::asio::use_awaitable, failed);
}

/// What is answered to a request: filled by its thread, written by the network's.
class Answer final : public Exchange, public std::enable_shared_from_this<Answer> {
 public:
  Answer(boost::asio::any_io_executor executor, HttpRequest request)
      : changed(executor), executor_(std::move(executor)), request_(std::move(request)) {}

  HttpRequest& request() override { return request_; }
  const Ticket& ticket() const override { return own_ticket; }
  void cancel() override { own_ticket.end(Ending::cancelled); }

  void send(HttpResponse response) override {
    const std::lock_guard lock(mutex_);
    if (!head_) head_ = std::move(response);
    notify();
  }

  void begin(HttpResponse response) override {
    const std::lock_guard lock(mutex_);
    streamed_ = true;
    head_ = std::move(response);
    notify();
  }

  void write(std::string piece) override {
    const std::lock_guard lock(mutex_);
    queued_ += piece.size();
    pieces_.push_back(std::move(piece));
    notify();
  }

  bool congested() const override {
    const std::lock_guard lock(mutex_);
    return queued_ > kCongested;
  }

  /// The thread is done with it.
  void finish() {
    const std::lock_guard lock(mutex_);
    finished_ = true;
    notify();
  }

  // For the network's thread. `changed` is cancelled when one of these may have become true.
  std::optional<HttpResponse> take_head() {
    const std::lock_guard lock(mutex_);
    return std::exchange(head_, std::nullopt);
  }
  std::optional<std::string> take_piece() {
    const std::lock_guard lock(mutex_);
    if (pieces_.empty()) return {};
    std::string piece = std::move(pieces_.front());
    pieces_.pop_front();
    queued_ -= piece.size();
    return piece;
  }
  bool streamed() const {
    const std::lock_guard lock(mutex_);
    return streamed_;
  }
  bool finished() const {
    const std::lock_guard lock(mutex_);
    return finished_ && pieces_.empty() && !head_;
  }

  boost::asio::steady_timer changed;
  Ticket own_ticket;
  boost::asio::steady_timer::time_point deadline;
  bool watched = true;  ///< by the connection, which still exists

 private:
  static constexpr std::size_t kCongested = 256 * 1024;

  void notify() {
    boost::asio::post(executor_, [self = shared_from_this()] { self->changed.cancel(); });
  }

  boost::asio::any_io_executor executor_;
  HttpRequest request_;
  mutable std::mutex mutex_;
  std::optional<HttpResponse> head_;
  std::deque<std::string> pieces_;
  std::size_t queued_ = 0;
  bool streamed_ = false;
  bool finished_ = false;
};

/// Lives in its coroutine, and so does what it is given.
class Connection {
 public:
  Connection(boost::asio::ip::tcp::socket socket, const HttpOptions& options,
             std::size_t buffer_bytes)
      : stream(std::move(socket)), buffer(buffer_bytes), options_(options) {}

  /// `body`: false for HEAD.
  boost::asio::awaitable<void> respond(HttpResponse response, unsigned version, bool body = true);
  /// Answers a request whose rest is not read; the connection is to be closed then.
  boost::asio::awaitable<void> refuse(HttpResponse response, unsigned version);
  /// Writes what the thread of `answer` answers until it is done, and ends its work when the client
  /// leaves or the time is over.
  boost::asio::awaitable<void> write_answer(unsigned version);

  boost::beast::tcp_stream stream;
  boost::beast::flat_buffer buffer;
  bool late = false;   ///< came when the server was stopping
  bool idle = true;    ///< waits for a request
  bool close = false;  ///< after the present answer
  std::shared_ptr<Answer> answer = {};

 private:
  boost::asio::awaitable<void> write_stream(const HttpResponse& head, unsigned version);
  boost::asio::awaitable<void> linger();
  boost::asio::awaitable<void> wait();
  void watch();

  template <class Message>
  void add_headers(Message& message, const HttpResponse& response) const {
    message.set(boost::beast::http::field::server, "blip");
    message.set(boost::beast::http::field::content_type, response.content_type);
    for (const auto& [name, value] : response.headers) message.set(name, value);
    message.keep_alive(!close);
  }

  const HttpOptions& options_;
};

}  // namespace blip::server
