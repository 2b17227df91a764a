#include "blip/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "blip/base/tensor.h"
#include "blip/ops/elementwise.h"
#include "blip/ops/isa.h"
#include "blip/ops/matmul.h"
#include "blip/ops/reference.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip/ops/attention.cpp"
#include <hwy/foreach_target.h>
// Highway must come after foreach_target.
#include <hwy/highway.h>

#include "blip/ops/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace blip::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

HWY_INLINE float dot(const float* a, const float* b, std::size_t size) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  auto even = hn::Zero(d);
  auto odd = hn::Zero(d);
  std::size_t i = 0;
  for (; i + 2 * lanes <= size; i += 2 * lanes) {
    even = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), even);
    odd = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), odd);
  }
  for (; i + lanes <= size; i += lanes)
    even = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), even);
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
  for (; i < size; ++i) sum += a[i] * b[i];
  return sum;
}

/// y += weight * x
HWY_INLINE void add_scaled(float weight, const float* x, std::size_t size, float* y) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  const auto w = hn::Set(d, weight);
  std::size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    hn::StoreU(hn::MulAdd(w, hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
  }
  for (; i < size; ++i) y[i] += weight * x[i];
}

/// One head of one query over `tokens` keys and values that `key(t)` and `value(t)` point at.
/// `scores` holds `tokens` values.
template <class Key, class Value>
HWY_INLINE void attend(const float* query, std::size_t head_size, std::size_t tokens, Key key,
                       Value value, float* scores, float* out) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_size));
  for (std::size_t t = 0; t < tokens; ++t) scores[t] = dot(query, key(t), head_size);
  softmax_row(scores, tokens, scale);
  std::fill(out, out + head_size, 0.0f);
  for (std::size_t t = 0; t < tokens; ++t) add_scaled(scores[t], value(t), head_size, out);
}

void cached_head_kernel(const AttentionShape& shape, const AttentionQuery& q, std::size_t head,
                        float* scores) {
  const std::size_t offset = head * shape.head_size;
  attend(
      q.query + offset, shape.head_size, q.keys.size(),
      [&](std::size_t t) { return q.keys[t] + offset; },
      [&](std::size_t t) { return q.values[t] + offset; }, scores, q.out + offset);
}

void shared_head_kernel(const AttentionShape& shape, const float* queries, std::size_t rows,
                        const SharedKeysValues& shared, std::size_t attended, std::size_t head,
                        float* scores, float* out) {
  const float* keys = shared.keys + head * shared.tokens * shape.head_size;
  const float* values = shared.values + head * shared.tokens * shape.head_size;
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t offset = (r * shape.heads + head) * shape.head_size;
    attend(
        queries + offset, shape.head_size, attended,
        [&](std::size_t t) { return keys + t * shape.head_size; },
        [&](std::size_t t) { return values + t * shape.head_size; }, scores, out + offset);
  }
}

}  // namespace blip::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blip {

HWY_EXPORT(cached_head_kernel);
HWY_EXPORT(shared_head_kernel);

namespace {

/// One head of one query by the definition.
template <class Key, class Value>
void reference_attend(const float* query, std::size_t head_size, std::size_t tokens, Key key,
                      Value value, float* scores, float* out) {
  for (std::size_t t = 0; t < tokens; ++t) {
    double sum = 0;
    for (std::size_t i = 0; i < head_size; ++i) sum += double{query[i]} * double{key(t)[i]};
    scores[t] = static_cast<float>(sum);
  }
  reference::softmax(scores, tokens, 1.0f / std::sqrt(static_cast<float>(head_size)));
  for (std::size_t i = 0; i < head_size; ++i) {
    double sum = 0;
    for (std::size_t t = 0; t < tokens; ++t) sum += double{scores[t]} * double{value(t)[i]};
    out[i] = static_cast<float>(sum);
  }
}

}  // namespace

void attention_all_to_all(const AttentionShape& shape, const float* qkv, std::size_t tokens,
                          float* out) {
  // Rows of scores per block: with 577 keys they take 220 KB, about half a second-level cache.
  constexpr std::size_t kQueryBlock = 96;
  const std::size_t width = shape.width();
  const std::size_t blocks = (tokens + kQueryBlock - 1) / kQueryBlock;
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_size));
  const bool parallel = tokens * tokens * width > 65536;
#pragma omp parallel if (parallel)
  {
    FloatBuffer scores(kQueryBlock * tokens);
#pragma omp for collapse(2) schedule(static)
    for (std::size_t head = 0; head < shape.heads; ++head) {
      for (std::size_t block = 0; block < blocks; ++block) {
        const std::size_t first = block * kQueryBlock;
        const std::size_t rows = std::min(kQueryBlock, tokens - first);
        const std::size_t column = head * shape.head_size;
        const ConstMatrix q{qkv + first * 3 * width + column, rows, shape.head_size, 3 * width};
        const ConstMatrix k{qkv + width + column, tokens, shape.head_size, 3 * width};
        const ConstMatrix v{qkv + 2 * width + column, tokens, shape.head_size, 3 * width};
        matmul(q, k, true, {scores.data(), rows, tokens, tokens});
        softmax(scores.data(), rows, tokens, tokens, scale);
        matmul({scores.data(), rows, tokens, tokens}, v, false,
               {out + first * width + column, rows, shape.head_size, width});
      }
    }
  }
}

void attention_cached(const AttentionShape& shape, std::span<const AttentionQuery> queries) {
  std::size_t longest = 0;
  std::size_t total = 0;
  for (const AttentionQuery& q : queries) {
    longest = std::max(longest, q.keys.size());
    total += q.keys.size();
  }
  const bool naive = active_isa() == Isa::reference;
#pragma omp parallel if (total * shape.width() > 65536)
  {
    FloatBuffer scores(longest);
#pragma omp for collapse(2) schedule(static)
    for (std::size_t i = 0; i < queries.size(); ++i) {
      for (std::size_t head = 0; head < shape.heads; ++head) {
        const AttentionQuery& q = queries[i];
        if (!naive) {
          HWY_DYNAMIC_DISPATCH(cached_head_kernel)(shape, q, head, scores.data());
          continue;
        }
        const std::size_t offset = head * shape.head_size;
        reference_attend(
            q.query + offset, shape.head_size, q.keys.size(),
            [&](std::size_t t) { return q.keys[t] + offset; },
            [&](std::size_t t) { return q.values[t] + offset; }, scores.data(), q.out + offset);
      }
    }
  }
}

void attention_shared(const AttentionShape& shape, const float* queries, std::size_t rows,
                      const SharedKeysValues& shared, std::size_t attended, float* out) {
  const bool naive = active_isa() == Isa::reference;
#pragma omp parallel if (rows * attended * shape.width() > 65536)
  {
    FloatBuffer scores(attended);
#pragma omp for schedule(static)
    for (std::size_t head = 0; head < shape.heads; ++head) {
      if (!naive) {
        HWY_DYNAMIC_DISPATCH(shared_head_kernel)
        (shape, queries, rows, shared, attended, head, scores.data(), out);
        continue;
      }
      const float* keys = shared.keys + head * shared.tokens * shape.head_size;
      const float* values = shared.values + head * shared.tokens * shape.head_size;
      for (std::size_t r = 0; r < rows; ++r) {
        const std::size_t offset = (r * shape.heads + head) * shape.head_size;
        reference_attend(
            queries + offset, shape.head_size, attended,
            [&](std::size_t t) { return keys + t * shape.head_size; },
            [&](std::size_t t) { return values + t * shape.head_size; }, scores.data(),
            out + offset);
      }
    }
  }
}

}  // namespace blip
#endif
