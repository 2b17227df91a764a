#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "apps/server/fronts.h"
#include "blip/base/error.h"

namespace blip::server {

struct StoreLimits {
  std::size_t count;
  std::size_t bytes;
  std::chrono::seconds lifetime;
};

/// What clients leave in memory to name it in a later request, under a key that nobody can guess.
/// Each is taken once; those that nobody takes go when their time is over, or when newer ones need
/// the room. Safe to share between threads.
template <class T>
class ExpiringStore {
 public:
  using Clock = std::chrono::steady_clock;

  explicit ExpiringStore(const StoreLimits& limits) : limits_(limits) {}

  /// The key of `value`, which counts as `bytes`. Throws Error{too_large} for more than the whole
  /// store may have.
  std::string put(T value, std::size_t bytes, Clock::time_point now = Clock::now()) {
    if (bytes > limits_.bytes) {
      throw Error(ErrorCode::too_large, "at most " + std::to_string(limits_.bytes) +
                                            " bytes can be kept, but there are " +
                                            std::to_string(bytes));
    }
    const std::lock_guard lock(mutex_);
    drop_expired(now);
    while (!entries_.empty() &&
           (entries_.size() >= limits_.count || bytes_ + bytes > limits_.bytes))
      remove(entries_.begin());
    entries_.push_back({random_key(), std::move(value), bytes, now});
    bytes_ += bytes;
    return entries_.back().key;
  }

  /// What lies under `key`; nothing when there is nothing any more.
  std::optional<T> take(const std::string& key, Clock::time_point now = Clock::now()) {
    auto found = take_first([&](const std::string& k, const T&) { return k == key; }, now);
    if (!found) return {};
    return std::move(found->second);
  }

  /// The oldest of which `wanted(key, value)` is true, with its key.
  template <class Wanted>
  std::optional<std::pair<std::string, T>> take_first(Wanted wanted,
                                                      Clock::time_point now = Clock::now()) {
    const std::lock_guard lock(mutex_);
    drop_expired(now);
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (!wanted(entry->key, entry->value)) continue;
      std::pair<std::string, T> taken(std::move(entry->key), std::move(entry->value));
      remove(entry);
      return taken;
    }
    return {};
  }

  std::size_t bytes() const {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }

 private:
  struct Entry {
    std::string key;
    T value;
    std::size_t bytes;
    Clock::time_point since;
  };

  void drop_expired(Clock::time_point now) {
    while (!entries_.empty() && now - entries_.front().since >= limits_.lifetime)
      remove(entries_.begin());
  }

  void remove(typename std::list<Entry>::iterator entry) {
    bytes_ -= entry->bytes;
    entries_.erase(entry);
  }

  StoreLimits limits_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  ///< the oldest first
  std::size_t bytes_ = 0;
};

}  // namespace blip::server
