#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <vector>

#include "blip/base/tensor.h"
#include "blip/ops/attention.h"
#include "blip/ops/isa.h"
#include "blip/ops/quantize.h"
#include "blip/ops/threads.h"
#include "blip/ops/tiles.h"

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
/// rounded. `width` is a multiple of 16; scores beyond `size` are overwritten and count for
/// nothing.
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

/// y = x * factor.
void scale_row_kernel(const float* x, float factor, std::size_t size, float* y) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  const auto factors = hn::Set(d, factor);
  std::size_t i = 0;
  for (; i + lanes <= size; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, x + i), factors), d, y + i);
  for (; i < size; ++i) y[i] = x[i] * factor;
}

}  // namespace blip::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blip {

HWY_EXPORT(exp_row_kernel);
HWY_EXPORT(scale_row_kernel);

namespace {

constexpr std::size_t kPadding = 32;  // values of a tile's piece

std::size_t padded(std::size_t n) {
  return (n + kPadding - 1) / kPadding * kPadding;
}

/// Queries whose weights a thread holds at once: those of 577 tokens stay in a second-level cache.
/// For each lot of them keys and values are packed anew, so there are many where tokens are.
std::size_t queries_at_once(std::size_t tokens) {
  constexpr std::size_t kBudget = std::size_t{768} << 10, kLeast = 256;
  return std::min(tokens, std::max(kLeast, kBudget / (2 * padded(tokens))));
}

/// What a thread needs to attend with one head; sizes in bf16 values are padded with zeros to whole
/// pieces.
struct HeadScratch {
  std::vector<std::uint16_t> queries;  ///< [tokens, head_size]
  std::vector<std::uint16_t> keys;     ///< [tokens, head_size]
  std::vector<std::uint16_t> values;   ///< [head_size, tokens]
  std::vector<std::uint16_t> row;      ///< [tokens] weights
  std::vector<float> factors;          ///< [queries at once] 1 / sum of weights
  std::vector<std::uint8_t> tiled_queries, tiled_weights;
};

/// Rounds one head's part of `qkv`.
void take_head(const AttentionShape& shape, const float* qkv, std::size_t tokens, std::size_t head,
               HeadScratch& s) {
  const std::size_t size = shape.head_size, row = padded(size), width = padded(tokens);
  s.queries.assign(tokens * row, 0);
  s.keys.assign(tokens * row, 0);
  s.values.assign(size * width, 0);
  s.row.resize(std::max(row, width));
  for (std::size_t t = 0; t < tokens; ++t) {
    const float* from = qkv + (t * 3 * shape.heads + head) * size;
    round_to_bf16(from, size, s.queries.data() + t * row);
    round_to_bf16(from + shape.width(), size, s.keys.data() + t * row);
    round_to_bf16(from + 2 * shape.width(), size, s.row.data());
    for (std::size_t i = 0; i < size; ++i) s.values[i * width + t] = s.row[i];
  }
}

WeightMatrix as_weights(const std::vector<std::uint16_t>& values, std::size_t out, std::size_t in) {
  WeightMatrix w;
  w.precision = Precision::bf16;
  w.out = out;
  w.in = in;
  w.data = values.data();
  return w;
}

void attend(const AttentionShape& shape, std::size_t tokens, HeadScratch& s, float* out) {
  const std::size_t size = shape.head_size, row = padded(size), width = padded(tokens);
  const float scale = 1.0f / std::sqrt(static_cast<float>(size));
  const WeightMatrix keys = as_weights(s.keys, tokens, row);
  const WeightMatrix values = as_weights(s.values, size, width);
  const std::size_t step = queries_at_once(tokens);
  s.factors.resize(step);
  for (std::size_t first = 0; first < tokens; first += step) {
    const std::size_t rows = std::min(step, tokens - first);
    const TiledRows queries = tiled_rows(keys, rows), weights = tiled_rows(values, rows);
    s.tiled_queries.resize(queries.bytes());
    s.tiled_weights.resize(weights.bytes());
    for (std::size_t r = 0; r < rows; r += queries.tile_rows) {
      queries.put(s.queries.data() + (first + r) * row, r, std::min(queries.tile_rows, rows - r),
                  s.tiled_queries.data());
    }
    const auto weigh = [&](const TileSums& scores) {
      for (std::size_t r = 0; r < scores.rows; ++r) {
        s.factors[scores.first + r] = HWY_DYNAMIC_DISPATCH(exp_row_kernel)(
            static_cast<float*>(scores.sums) + r * scores.stride, tokens, width, scale,
            s.row.data());
        weights.put(s.row.data(), scores.first + r, 1, s.tiled_weights.data());
      }
    };
    multiply_tiles(s.tiled_queries.data(), queries, keys, {0, tokens}, weigh, true);
    const auto finish = [&](const TileSums& sums) {
      for (std::size_t r = 0; r < sums.rows; ++r) {
        HWY_DYNAMIC_DISPATCH(scale_row_kernel)
        (static_cast<const float*>(sums.sums) + r * sums.stride, s.factors[sums.first + r], size,
         out + (first + sums.first + r) * shape.width());
      }
    };
    multiply_tiles(s.tiled_weights.data(), weights, values, {0, size}, finish, true);
  }
}

}  // namespace

void attention_all_to_all_bf16(const AttentionShape& shape, const float* qkv, std::size_t tokens,
                               float* out) {
  active_isa();              // settles what is dispatched to
  std::exception_ptr error;  // may not leave a parallel region
#pragma omp parallel for schedule(static) if (worth_threads(2 * tokens * tokens * shape.width()))
  for (std::size_t head = 0; head < shape.heads; ++head) {
    thread_local HeadScratch scratch;
    try {
      take_head(shape, qkv, tokens, head, scratch);
      attend(shape, tokens, scratch, out + head * shape.head_size);
    } catch (...) {
#pragma omp critical
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace blip
#endif
