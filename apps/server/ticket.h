#pragma once

#include <atomic>

namespace blip::server {

/// Why a request's work is to end before it is done.
enum class Ending {
  none,
  client_left,
  cancelled,  ///< by another message of the client
  deadline,
  shutdown
};

/// What a request and those who work on it share: any thread may end it.
class Ticket {
 public:
  void end(Ending why) {
    Ending none = Ending::none;
    if (ending_.compare_exchange_strong(none, why)) stop_ = true;
  }
  Ending ending() const { return ending_; }
  bool ended() const { return stop_; }
  /// For blip::Context.
  const std::atomic<bool>* stop() const { return &stop_; }
  /// Throws Error{cancelled} once it ended.
  void check() const;

 private:
  std::atomic<Ending> ending_{Ending::none};
  std::atomic<bool> stop_{false};
};

}  // namespace blip::server
