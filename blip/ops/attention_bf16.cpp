#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>

#include "blip/base/tensor.h"
#include "blip/ops/attention.h"
#include "blip/ops/isa.h"
#include "blip/ops/matmul.h"
#include "blip/ops/quantize.h"
#include "blip/ops/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip/ops/attention_bf16.cpp"
#include <hwy/foreach_target.h>
// Highway must come after foreach_target.
#include <hwy/highway.h>

#include "blip/ops/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace blip::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// weights = exp((scores - their largest) * scale) rounded to bf16; returns 1 / the sum of what was
/// rounded. `width` is a multiple of kScorePadding; scores beyond `size` count for nothing.
float exp_row_kernel(float* scores, std::size_t size, std::size_t width, float scale,
                     std::uint16_t* weights) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> bits;
  const hn::Rebind<std::uint16_t, decltype(d)> halves;
  const std::size_t lanes = hn::Lanes(d);
  std::fill(scores + size, scores + width, -1e30f);
  auto tops = hn::LoadU(d, scores);
  for (std::size_t i = lanes; i < width; i += lanes) tops = hn::Max(tops, hn::LoadU(d, scores + i));
  const auto top = hn::MaxOfLanes(d, tops);
  const auto scales = hn::Set(d, scale);
  const auto half = hn::Set(bits, 0x8000u), high = hn::Set(bits, 0xFFFF0000u);
  auto sums = hn::Zero(d);
  for (std::size_t i = 0; i < width; i += lanes) {
    const auto e = exp_negative<4>(d, hn::Mul(hn::Sub(hn::LoadU(d, scores + i), top), scales));
    const auto rounded = hn::And(hn::Add(hn::BitCast(bits, e), half), high);
    sums = hn::Add(sums, hn::BitCast(d, rounded));
    hn::StoreU(hn::DemoteTo(halves, hn::BitCast(hn::RebindToSigned<decltype(d)>(),
                                                hn::ShiftRight<16>(rounded))),
               halves, weights + i);
  }
  return 1.0f / hn::GetLane(hn::SumOfLanes(d, sums));
}

void scale_row_kernel(float factor, std::size_t size, float* y) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  const auto factors = hn::Set(d, factor);
  std::size_t i = 0;
  for (; i + lanes <= size; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, y + i), factors), d, y + i);
  for (; i < size; ++i) y[i] *= factor;
}

}  // namespace blip::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blip {

HWY_EXPORT(exp_row_kernel);
HWY_EXPORT(scale_row_kernel);

namespace {

/// Queries whose scores a thread holds at once, so that they stay in the second-level cache: 160
/// rows of 577 scores are 370 kB, their weights half of that.
constexpr std::size_t kQueryBlock = 160;
constexpr std::size_t kScorePadding = 16;

/// One head's part of `qkv` in bf16, and what a thread needs to attend with it.
struct HeadScratch {
  std::uint16_t* queries;  ///< [tokens, head_size]
  std::uint16_t* keys;     ///< [tokens, head_size]
  std::uint16_t* values;   ///< [tokens, head_size]
  float* scores;           ///< [kQueryBlock, padded tokens]
  std::uint16_t* weights;  ///< [kQueryBlock, padded tokens]
};

std::size_t padded(std::size_t tokens) {
  return (tokens + kScorePadding - 1) / kScorePadding * kScorePadding;
}

/// Floats that a thread's HeadScratch takes.
std::size_t scratch_size(const AttentionShape& shape, std::size_t tokens) {
  const std::size_t halves = 3 * padded(tokens) * shape.head_size + kQueryBlock * padded(tokens);
  return (halves + 1) / 2 + kQueryBlock * padded(tokens) + kScorePadding;
}

HeadScratch lay_out(const AttentionShape& shape, std::size_t tokens, float* from) {
  const std::size_t each = padded(tokens) * shape.head_size;
  HeadScratch s{};
  s.scores = from;
  s.weights = reinterpret_cast<std::uint16_t*>(s.scores + kQueryBlock * padded(tokens));
  s.queries = s.weights + kQueryBlock * padded(tokens);
  s.keys = s.queries + each;
  s.values = s.keys + each;
  return s;
}

void attend(const AttentionShape& shape, std::size_t tokens, const HeadScratch& s, float* out) {
  const std::size_t size = shape.head_size, width = padded(tokens);
  const float scale = 1.0f / std::sqrt(static_cast<float>(size));
  float factors[kQueryBlock];
  for (std::size_t first = 0; first < tokens; first += kQueryBlock) {
    const std::size_t rows = std::min(kQueryBlock, tokens - first);
    matmul_bf16({s.queries + first * size, rows, size, size}, {s.keys, tokens, size, size}, true,
                {s.scores, rows, tokens, width});
    for (std::size_t r = 0; r < rows; ++r) {
      factors[r] = HWY_DYNAMIC_DISPATCH(exp_row_kernel)(s.scores + r * width, tokens, width, scale,
                                                        s.weights + r * width);
    }
    float* y = out + first * shape.width();
    matmul_bf16({s.weights, rows, tokens, width}, {s.values, tokens, size, size}, false,
                {y, rows, size, shape.width()});
    for (std::size_t r = 0; r < rows; ++r) {
      HWY_DYNAMIC_DISPATCH(scale_row_kernel)(factors[r], size, y + r * shape.width());
    }
  }
}

}  // namespace

void attention_all_to_all_bf16(const AttentionShape& shape, const float* qkv, std::size_t tokens,
                               float* out, FloatBuffer& scratch) {
  active_isa();  // settles what is dispatched to
  const std::size_t each = scratch_size(shape, tokens);
  const auto threads = static_cast<std::size_t>(omp_get_max_threads());
  if (scratch.size() < threads * each) scratch = FloatBuffer(threads * each);
  std::exception_ptr error;  // may not leave a parallel region
#pragma omp parallel for schedule(static) if (worth_threads(2 * tokens * tokens * shape.width()))
  for (std::size_t head = 0; head < shape.heads; ++head) {
    const HeadScratch s = lay_out(
        shape, tokens, scratch.data() + static_cast<std::size_t>(omp_get_thread_num()) * each);
    std::uint16_t* const parts[] = {s.queries, s.keys, s.values};
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t part = 0; part < 3; ++part) {
        round_to_bf16(qkv + ((t * 3 + part) * shape.heads + head) * shape.head_size,
                      shape.head_size, parts[part] + t * shape.head_size);
      }
    }
    try {
      attend(shape, tokens, s, out + head * shape.head_size);
    } catch (...) {
#pragma omp critical
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace blip
#endif
