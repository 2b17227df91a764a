#include "apps/server/decoder_pool.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "apps/server/decoding.h"
#include "blip/base/error.h"

extern char** environ;

namespace blip::server {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kPollMilliseconds = 50;  // how soon a call sees that its ticket ended

/// The process is gone or has been too slow.
struct Lost {
  bool late;
};

/// Waits until the socket is ready for `events`. Throws Lost, Error{cancelled}.
void wait_for(int socket, short events, Clock::time_point deadline, const Ticket& ticket) {
  for (;;) {
    ticket.check();
    pollfd one{socket, events, 0};
    const int ready = ::poll(&one, 1, kPollMilliseconds);
    if (ready > 0) return;  // also when the other side is gone: the next call says so
    if (ready < 0 && errno != EINTR) throw Lost{false};
    if (Clock::now() > deadline) throw Lost{true};
  }
}

}  // namespace

DecoderPool::DecoderPool(DecoderOptions options)
    : options_(std::move(options)), free_(std::max<std::size_t>(options_.processes, 1)) {
  for (Process& process : free_) process = start();
}

DecoderPool::~DecoderPool() {
  for (const Process& process : free_) {
    if (process.pid > 0) end(process);
  }
}

std::size_t DecoderPool::crashes() const {
  const std::lock_guard lock(mutex_);
  return crashes_;
}

DecodedPicture DecoderPool::decode(std::string_view bytes, int width, int height,
                                   const Ticket& ticket) {
  Process process = take(ticket);
  try {
    if (process.pid < 0) process = start();
    DecodedPicture picture = exchange(process, bytes, width, height, ticket);
    give_back(process);
    return picture;
  } catch (const Lost& lost) {
    const std::string how = end(process);
    {
      const std::lock_guard lock(mutex_);
      ++crashes_;
    }
    give_back({});
    throw Error(ErrorCode::bad_image, lost.late
                                          ? "decoding the picture took longer than " +
                                                std::to_string(options_.timeout.count()) + " s"
                                          : "the picture made its decoder fail (" + how + ")");
  } catch (const Error& e) {
    // An error of the picture leaves the process as it was; an ended ticket does not.
    if (e.code() == ErrorCode::cancelled) {
      end(process);
      process = {};
    }
    give_back(process);
    throw;
  } catch (...) {
    if (process.pid > 0) end(process);
    give_back({});
    throw;
  }
}

DecoderPool::Process DecoderPool::take(const Ticket& ticket) {
  std::unique_lock lock(mutex_);
  while (free_.empty()) {
    freed_.wait_for(lock, std::chrono::milliseconds(kPollMilliseconds));
    ticket.check();
  }
  const Process process = free_.back();
  free_.pop_back();
  return process;
}

void DecoderPool::give_back(Process process) {
  {
    const std::lock_guard lock(mutex_);
    free_.push_back(process);
  }
  freed_.notify_one();
}

DecoderPool::Process DecoderPool::start() const {
  std::array<int, 2> sockets{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0)
    throw Error(ErrorCode::io, std::string("cannot start a decoder: ") + std::strerror(errno));
  ::fcntl(sockets[0], F_SETFL, O_NONBLOCK);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, sockets[1], 3);
  posix_spawn_file_actions_addclosefrom_np(&actions, 4);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  std::string program = "blip";
  std::string word = "decode-pictures";
  std::string pixels = std::to_string(options_.image.max_pixels);
  char* const arguments[] = {program.data(), word.data(), pixels.data(), nullptr};
  Process process;
  const int failed = ::posix_spawn(&process.pid, options_.command.c_str(), &actions, &attributes,
                                   arguments, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  ::close(sockets[1]);
  if (failed != 0) {
    ::close(sockets[0]);
    throw Error(ErrorCode::io, "cannot start a decoder, " + options_.command.string() + ": " +
                                   std::strerror(failed));
  }
  process.socket = sockets[0];
  return process;
}

std::string DecoderPool::end(Process process) {
  ::close(process.socket);
  int status = 0;
  // A process that died of itself says how; one that lives is killed.
  for (int tries = 0; ::waitpid(process.pid, &status, WNOHANG) == 0; ++tries) {
    if (tries == 10) ::kill(process.pid, SIGKILL);
    ::usleep(1000);
  }
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  return "status " + std::to_string(WEXITSTATUS(status));
}

DecodedPicture DecoderPool::exchange(const Process& process, std::string_view bytes, int width,
                                     int height, const Ticket& ticket) const {
  const Deadline deadline = Clock::now() + options_.timeout;
  const auto send = [&](const void* from, std::size_t size) {
    const auto* at = static_cast<const char*>(from);
    while (size > 0) {
      wait_for(process.socket, POLLOUT, deadline, ticket);
      const ssize_t put = ::send(process.socket, at, size, MSG_NOSIGNAL);
      if (put < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (put <= 0) throw Lost{false};
      at += put;
      size -= static_cast<std::size_t>(put);
    }
  };
  const auto receive = [&](void* to, std::size_t size) {
    auto* at = static_cast<char*>(to);
    while (size > 0) {
      wait_for(process.socket, POLLIN, deadline, ticket);
      const ssize_t got = ::recv(process.socket, at, size, 0);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (got <= 0) throw Lost{false};
      at += got;
      size -= static_cast<std::size_t>(got);
    }
  };
  const DecodingRequest request{bytes.size(),
                                options_.image.max_pixels,
                                width,
                                height,
                                static_cast<std::int32_t>(options_.image.alpha),
                                options_.image.exif_orientation};
  send(&request, sizeof request);
  send(bytes.data(), bytes.size());
  DecodingReply reply{};
  receive(&reply, sizeof reply);
  // What a process says that a picture may have taken over is not believed.
  const std::uint64_t pixels =
      static_cast<std::uint64_t>(width) * static_cast<std::uint64_t>(height);
  if (reply.error < 0 ? reply.bytes != 3 * pixels : reply.bytes > 4096) throw Lost{false};
  std::vector<std::uint8_t> answer(reply.bytes);
  receive(answer.data(), answer.size());
  if (reply.error >= 0) {
    const bool known = reply.error <= static_cast<std::int32_t>(ErrorCode::internal) &&
                       reply.error != static_cast<std::int32_t>(ErrorCode::cancelled);
    throw Error(known ? static_cast<ErrorCode>(reply.error) : ErrorCode::bad_image,
                std::string(answer.begin(), answer.end()));
  }
  return {{width, height, std::move(answer)}, reply.width, reply.height};
}

}  // namespace blip::server
