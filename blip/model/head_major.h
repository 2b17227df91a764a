#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "blip/base/tensor.h"
#include "blip/ops/attention.h"
#include "blip/ops/linear.h"

namespace blip {

/// The keys or values of one layer as attention_shared() reads them, [heads, tokens, head_size]: in
/// f32, or in bf16 where the model's weights are narrower than f32 too. Every step of decoding
/// reads all of them, and those of a few pictures are more than the decoder's weights.
class HeadMajor {
 public:
  enum class Type { f32, bf16 };

  /// Room for the keys or values of so many tokens.
  HeadMajor(const AttentionShape& shape, std::size_t tokens, Type type);

  /// Takes a block of [tokens, heads, head_size]. Blocks may come on several threads.
  void put(const LinearBlock& block);

  /// Null when they are in bf16.
  const float* f32() const { return f32_.data(); }
  float* f32() { return f32_.data(); }
  /// Null when they are in f32.
  const std::uint16_t* bf16() const { return bf16_.get(); }
  /// A copy in f32, whatever they are in.
  std::vector<float> widened() const;

 private:
  AttentionShape shape_;
  std::size_t tokens_;
  FloatBuffer f32_;
  std::unique_ptr<std::uint16_t[]> bf16_;
};

}  // namespace blip
