#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "apps/server/ticket.h"
#include "blip/image/decode.h"
#include "blip/image/image.h"

namespace blip::server {

struct DecoderOptions {
  std::filesystem::path command;  ///< this program, started with "decode-pictures"
  std::size_t processes = 2;
  ImageOptions image;
  std::chrono::seconds timeout{30};  ///< for one picture; then its process is killed
};

/// A picture squashed to what a model takes, and its own size.
struct DecodedPicture {
  Image image;
  int width = 0;
  int height = 0;
};

/// Processes that decode pictures for the service; see decode_pictures(). Safe to share between
/// threads: a call takes a free process and waits for one when there is none.
class DecoderPool {
 public:
  explicit DecoderPool(DecoderOptions options);
  /// Ends the processes. No call may be under way.
  ~DecoderPool();
  DecoderPool(const DecoderPool&) = delete;
  DecoderPool& operator=(const DecoderPool&) = delete;

  /// Throws what decode_image() throws; Error{bad_image} when the process died of the picture or
  /// took too long, after which a new one is started; Error{cancelled} when the ticket ended.
  DecodedPicture decode(std::string_view bytes, int width, int height, const Ticket& ticket);

  std::size_t crashes() const;

 private:
  struct Process {
    pid_t pid = -1;
    int socket = -1;
  };
  using Deadline = std::chrono::steady_clock::time_point;

  Process take(const Ticket& ticket);
  void give_back(Process process);
  Process start() const;
  /// Kills it; says how it ended ("signal 11").
  static std::string end(Process process);
  DecodedPicture exchange(const Process& process, std::string_view bytes, int width, int height,
                          const Ticket& ticket) const;

  DecoderOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<Process> free_;  ///< guarded by mutex_; pid -1: to be started
  std::size_t crashes_ = 0;    ///< guarded by mutex_
};

}  // namespace blip::server
