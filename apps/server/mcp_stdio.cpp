#include "apps/server/mcp_stdio.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cerrno>
#include <chrono>
#include <climits>
#include <condition_variable>
#include <list>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "apps/server/fronts.h"
#include "blip/base/error.h"

namespace blip::server {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
constexpr int kPollMilliseconds = 100;  // how soon it is seen that nobody reads the output
constexpr const char* kClient = "stdio";

/// One client over a pair of pipes.
class Conversation {
 public:
  Conversation(Mcp& mcp, const McpPipe& pipe)
      : mcp_(mcp), pipe_(pipe), workers_(std::max<std::size_t>(pipe.requests, 1)) {}

  void run() {
    const bool stopped = !read_all();
    if (!stopped) finish();
    {
      const std::lock_guard lock(mutex_);
      for (Ticket& ticket : tickets_) ticket.end(Ending::shutdown);
    }
    workers_.join();
  }

 private:
  /// False: it was stopped before the input's end.
  bool read_all();
  /// Waits for what is worked on, as long as anybody will read the answers.
  void finish();
  void take(std::string_view line);
  void answer_line(std::string_view line);
  void begin(Json message);
  void work(Json message, const std::string& version, const Ticket& ticket);
  void write(const Json& message);
  /// True when `fd` is ready, false when it is time to stop.
  bool wait_for(int fd, short events) const;

  Mcp& mcp_;
  const McpPipe& pipe_;
  std::string version_;  ///< that initialize agreed on
  std::string line_;     ///< what was read of the next line
  bool line_is_too_long_ = false;
  std::mutex writing_;
  std::atomic<bool> reader_left_{false};
  std::mutex mutex_;
  std::condition_variable done_;
  std::list<Ticket> tickets_;  ///< of what is worked on; guarded by mutex_
  boost::asio::thread_pool workers_;
};

bool Conversation::wait_for(int fd, short events) const {
  for (;;) {
    pollfd both[] = {{fd, events, 0}, {pipe_.stop, POLLIN, 0}};
    if (::poll(both, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    if (both[1].revents != 0) return false;
    if (both[0].revents != 0) return true;
  }
}

bool Conversation::read_all() {
  std::string piece(kReadBytes, '\0');
  while (!reader_left_) {
    if (!wait_for(pipe_.in, POLLIN)) return false;
    const ssize_t got = ::read(pipe_.in, piece.data(), piece.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) break;
    std::string_view left(piece.data(), static_cast<std::size_t>(got));
    for (std::size_t end; (end = left.find('\n')) != std::string_view::npos;) {
      take(left.substr(0, end));
      answer_line(std::exchange(line_, {}));
      left.remove_prefix(end + 1);
    }
    take(left);
  }
  answer_line(line_);  // the last needs no newline
  return true;
}

void Conversation::take(std::string_view part) {
  if (line_is_too_long_) return;
  if (line_.size() + part.size() > pipe_.message_bytes) {
    line_is_too_long_ = true;
    line_ = {};
  } else {
    line_ += part;
  }
}

void Conversation::answer_line(std::string_view line) {
  if (std::exchange(line_is_too_long_, false)) {
    return write(Mcp::error(
        nullptr, McpError::request,
        "a message must have at most " + std::to_string(pipe_.message_bytes) + " bytes"));
  }
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) return;
  Json message;
  try {
    message = parse_request_json(line);
  } catch (const Error& e) {
    return write(Mcp::error(nullptr, McpError::parse, e.what()));
  }
  if (Mcp::takes_time(message)) return begin(std::move(message));
  const bool opens = member(message, "method") == "initialize";
  const Ticket ticket;
  const Json answer = mcp_.answer(std::move(message), {ticket, kClient, version_});
  if (opens && answer.contains("result")) version_ = answer["result"]["protocolVersion"];
  if (!answer.is_null()) write(answer);
}

// The ticket is known before its thread begins, so that a cancellation finds it.
void Conversation::begin(Json message) {
  Ticket* ticket = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (tickets_.size() < pipe_.requests) ticket = &tickets_.emplace_back();
  }
  if (ticket == nullptr) {
    return write(Mcp::error(
        member(message, "id"), McpError::internal,
        "more than " + std::to_string(pipe_.requests) + " requests at once are not taken"));
  }
  auto tracked = mcp_.track(message, kClient, [ticket] { ticket->end(Ending::cancelled); });
  boost::asio::post(workers_, [this, ticket, tracked = std::move(tracked), version = version_,
                               message = std::move(message)]() mutable {
    work(std::move(message), version, *ticket);
    tracked.reset();
    const std::lock_guard lock(mutex_);
    tickets_.remove_if([ticket](const Ticket& one) { return &one == ticket; });
    done_.notify_all();
  });
}

void Conversation::work(Json message, const std::string& version, const Ticket& ticket) {
  const auto notify = [this](const Json& progress) { write(progress); };
  try {
    const Json answer = mcp_.answer(std::move(message), {ticket, kClient, version, {}, notify});
    if (!answer.is_null() && ticket.ending() != Ending::cancelled) write(answer);
  } catch (const std::bad_alloc&) {
    write(Mcp::error(nullptr, McpError::internal, "there is no memory left for an answer"));
  }
}

// In pieces that a pipe takes at once when it says that it is ready, so that a client that does not
// read cannot keep anybody from stopping.
void Conversation::write(const Json& message) {
  const std::string text = dump(message) + "\n";
  const std::lock_guard lock(writing_);
  for (std::size_t done = 0; done < text.size() && !reader_left_;) {
    if (!wait_for(pipe_.out, POLLOUT)) return;
    const ssize_t put =
        ::write(pipe_.out, text.data() + done, std::min<std::size_t>(text.size() - done, PIPE_BUF));
    if (put < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (put < 0) reader_left_ = true;
    if (put > 0) done += static_cast<std::size_t>(put);
  }
}

void Conversation::finish() {
  std::unique_lock lock(mutex_);
  const auto idle = [this] { return tickets_.empty(); };
  while (!done_.wait_for(lock, std::chrono::milliseconds(kPollMilliseconds), idle)) {
    pollfd both[] = {{pipe_.out, 0, 0}, {pipe_.stop, POLLIN, 0}};
    const int ready = ::poll(both, 2, 0);
    if (reader_left_ || (ready > 0 && (both[1].revents != 0 || (both[0].revents & POLLERR) != 0)))
      return;
  }
}

}  // namespace

void serve_mcp(Mcp& mcp, const McpPipe& pipe) {
  Conversation(mcp, pipe).run();
}

}  // namespace blip::server
