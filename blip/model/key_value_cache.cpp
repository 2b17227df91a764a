#include "blip/model/key_value_cache.h"

namespace blip {

void KeyValueCache::advance(std::span<const Row> rows) {
  next_.resize(rows.size());
  used_.assign(capacity(), 0);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    next_[i].clear();
    if (rows[i].parent >= 0) next_[i] = sequences_.at(static_cast<std::size_t>(rows[i].parent));
    for (const int slot : next_[i]) used_[static_cast<std::size_t>(slot)] = 1;
  }
  free_.clear();
  for (std::size_t slot = used_.size(); slot-- > 0;) {
    if (used_[slot] == 0) free_.push_back(static_cast<int>(slot));
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t t = 0; t < rows[i].new_tokens; ++t) next_[i].push_back(take_slot());
  }
  sequences_.swap(next_);
}

int KeyValueCache::take_slot() {
  if (free_.empty()) {
    const std::size_t first = capacity();
    blocks_.emplace_back(layers_ * 2 * kBlock * width_);
    for (std::size_t slot = first + kBlock; slot-- > first;)
      free_.push_back(static_cast<int>(slot));
  }
  const int slot = free_.back();
  free_.pop_back();
  return slot;
}

}  // namespace blip
