#include "blip/model/head_major.h"

#include <algorithm>

#include "blip/ops/quantize.h"

namespace blip {

HeadMajor::HeadMajor(const AttentionShape& shape, std::size_t tokens, Type type)
    : shape_(shape), tokens_(tokens) {
  const std::size_t size = tokens * shape.width();
  if (type == Type::f32) {
    f32_ = FloatBuffer(size);
  } else {
    bf16_ = std::make_unique_for_overwrite<std::uint16_t[]>(size);
  }
}

void HeadMajor::put(const LinearBlock& block) {
  const std::size_t size = shape_.head_size;
  for (std::size_t begin = block.columns.begin, end = 0; begin < block.columns.end; begin = end) {
    const std::size_t head = begin / size;
    end = std::min((head + 1) * size, block.columns.end);
    const float* from = block.values + (begin - block.columns.begin);
    std::size_t to = (head * tokens_ + block.first) * size + begin % size;
    for (std::size_t r = 0; r < block.rows; ++r, from += block.stride, to += size) {
      if (bf16_) {
        round_to_bf16(from, end - begin, bf16_.get() + to);
      } else {
        std::copy_n(from, end - begin, f32_.data() + to);
      }
    }
  }
}

std::vector<float> HeadMajor::widened() const {
  std::vector<float> values(tokens_ * shape_.width());
  if (bf16_) {
    widen_bf16(bf16_.get(), values.size(), values.data());
  } else {
    std::copy_n(f32_.data(), values.size(), values.data());
  }
  return values;
}

}  // namespace blip
