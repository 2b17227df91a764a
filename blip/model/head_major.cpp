#include "blip/model/head_major.h"

#include <algorithm>

#include "blip/ops/quantize.h"
#include "blip/ops/threads.h"

namespace blip {

HeadMajor::HeadMajor(const AttentionShape& shape, std::span<const float> token_major, Type type)
    : size_(token_major.size()) {
  if (type == Type::f32) {
    f32_ = FloatBuffer(size_);
  } else {
    bf16_ = std::make_unique_for_overwrite<std::uint16_t[]>(size_);
  }
  const std::size_t tokens = size_ / shape.width();
#pragma omp parallel for schedule(static) if (worth_threads(4 * size_))
  for (std::size_t head = 0; head < shape.heads; ++head) {
    for (std::size_t token = 0; token < tokens; ++token) {
      const float* from = token_major.data() + (token * shape.heads + head) * shape.head_size;
      const std::size_t to = (head * tokens + token) * shape.head_size;
      if (type == Type::f32) {
        std::copy_n(from, shape.head_size, f32_.data() + to);
      } else {
        round_to_bf16(from, shape.head_size, bf16_.get() + to);
      }
    }
  }
}

std::vector<float> HeadMajor::widened() const {
  std::vector<float> values(size_);
  if (bf16_) {
    widen_bf16(bf16_.get(), size_, values.data());
  } else {
    std::copy_n(f32_.data(), size_, values.data());
  }
  return values;
}

}  // namespace blip
