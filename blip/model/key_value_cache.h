#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "blip/base/tensor.h"

namespace blip {

/// Self-attention keys and values of the sequences being decoded. Each token's lie in a slot; a
/// sequence is a list of slots, so that beams share their common past and reordering beams moves
/// indices, never keys or values. Slots that no sequence uses any more are used again.
class KeyValueCache {
 public:
  /// `width`: floats of one token's keys (and of its values) in one layer.
  KeyValueCache(std::size_t layers, std::size_t width) : layers_(layers), width_(width) {}

  /// A new sequence's history and size.
  struct Row {
    int parent;  ///< index of a sequence of the step before; -1 for an empty history
    std::size_t new_tokens;
  };
  /// Replaces the sequences: row i is a copy of its parent, with slots for its new tokens at the
  /// end.
  void advance(std::span<const Row> rows);

  /// Slots of the i-th sequence, oldest token first.
  std::span<const int> slots(std::size_t i) const { return sequences_[i]; }
  /// Number of sequences.
  std::size_t size() const { return sequences_.size(); }

  float* key(std::size_t layer, int slot) { return at(2 * layer, slot); }
  float* value(std::size_t layer, int slot) { return at(2 * layer + 1, slot); }
  /// Slots that memory was taken for.
  std::size_t capacity() const { return blocks_.size() * kBlock; }

 private:
  static constexpr std::size_t kBlock = 64;  // slots that are allocated together

  float* at(std::size_t plane, int slot) {
    const auto s = static_cast<std::size_t>(slot);
    return blocks_[s / kBlock].data() + (plane * kBlock + s % kBlock) * width_;
  }
  int take_slot();

  std::size_t layers_;
  std::size_t width_;
  std::vector<FloatBuffer> blocks_;  // each [layers, 2, kBlock, width]
  std::vector<std::vector<int>> sequences_;
  std::vector<std::vector<int>> next_;  // those of advance(), until they replace the others
  std::vector<char> used_;              // per slot
  std::vector<int> free_;
};

}  // namespace blip
