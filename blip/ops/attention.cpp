#include "blip/ops/attention.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "blip/base/tensor.h"
#include "blip/base/threads.h"
#include "blip/ops/isa.h"
#include "blip/ops/quantize.h"
#include "blip/ops/reference.h"

#ifndef BLIP_OPS_ATTENTION_ONCE
#define BLIP_OPS_ATTENTION_ONCE
namespace blip {

/// One head's keys and values as the kernels want them; see pack_head_kernel.
struct PackedHead {
  float* keys;
  float* values;
};

/// The queries that share keys and values, and where their results go.
struct SharedQueries {
  const float* queries;
  std::size_t rows;
  float* out;
};

/// Queries with shared keys whose scores are held at once.
inline constexpr std::size_t kSharedRows = 32;

/// Queries that are computed together: 6 rows of 2 vectors fill 16 registers.
inline constexpr std::size_t kQueryTile = 6;

}  // namespace blip
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip/ops/attention.cpp"
#include <hwy/foreach_target.h>
// Highway must come after foreach_target.
#include <hwy/highway.h>

#include "blip/ops/dot-inl.h"
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

/// Vectors of a value's columns whose sums are held at once: a head of 64 values is one stream
/// where there are registers for it.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
inline constexpr std::size_t kValueVectors = 4;
#else
inline constexpr std::size_t kValueVectors = 2;
#endif

/// out[r, :] = sum over t of weights[r, t] * values[t, :] for kRows rows and kVectors vectors of
/// columns from `begin`. Every sum runs over t in order, whatever the tile.
template <std::size_t kRows, std::size_t kVectors, class T>
HWY_INLINE void weigh_columns(const float* weights, const T* values, std::size_t tokens,
                              const AttentionShape& shape, std::size_t begin, float* out) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d), size = shape.head_size;
  FloatVector sums[kRows][kVectors];
  for_constants<kRows>([&](auto r) __attribute__((always_inline)) {
    for_constants<kVectors>([&](auto v)
                                __attribute__((always_inline)) { sums[r][v] = hn::Zero(d); });
  });
  for (std::size_t t = 0; t < tokens; ++t) {
    FloatVector value[kVectors];
    for_constants<kVectors>([&](auto v) __attribute__((always_inline)) {
      value[v] = load(d, values + t * size + begin + v * lanes);
    });
    for_constants<kRows>([&](auto r) __attribute__((always_inline)) {
      const FloatVector weight = hn::Set(d, weights[r * tokens + t]);
      for_constants<kVectors>([&](auto v) __attribute__((always_inline)) {
        sums[r][v] = hn::MulAdd(weight, value[v], sums[r][v]);
      });
    });
  }
  for_constants<kRows>([&](auto r) __attribute__((always_inline)) {
    for_constants<kVectors>([&](auto v) __attribute__((always_inline)) {
      hn::StoreU(sums[r][v], d, out + r * shape.width() + begin + v * lanes);
    });
  });
}

/// The same for all columns. `weights` [kRows, tokens], `values` [tokens, head_size].
template <std::size_t kRows, class T>
void weigh_tile(const float* weights, const T* values, std::size_t tokens,
                const AttentionShape& shape, float* out) {
  const std::size_t lanes = hn::Lanes(Floats()), size = shape.head_size;
  std::size_t i = 0;
  for (; i + kValueVectors * lanes <= size; i += kValueVectors * lanes) {
    weigh_columns<kRows, kValueVectors>(weights, values, tokens, shape, i, out);
  }
  for (; i + lanes <= size; i += lanes) {
    weigh_columns<kRows, 1>(weights, values, tokens, shape, i, out);
  }
  for (; i < size; ++i) {
    for (std::size_t r = 0; r < kRows; ++r) {
      float sum = 0;
      for (std::size_t t = 0; t < tokens; ++t) {
        sum += weights[r * tokens + t] * widen(values[t * size + i]);
      }
      out[r * shape.width() + i] = sum;
    }
  }
}

/// One head for at most kSharedRows rows that share its keys and values; `scores` holds rows *
/// tokens values.
template <class T>
void shared_rows(const AttentionShape& shape, const float* queries, std::size_t rows,
                 const SharedKeysValues<T>& head, float* scores, float* out) {
  const std::size_t tokens = head.tokens, width = shape.width();
  dot_rows(queries, head.keys, {rows, shape.head_size, 0, tokens, width, tokens}, scores);
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_size));
  for (std::size_t r = 0; r < rows; ++r) softmax_row(scores + r * tokens, tokens, scale);
  std::size_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    weigh_tile<4>(scores + r * tokens, head.values, tokens, shape, out + r * width);
  }
  for (; r < rows; ++r) {
    weigh_tile<1>(scores + r * tokens, head.values, tokens, shape, out + r * width);
  }
}

template <class T>
HWY_INLINE void shared_head(const AttentionShape& shape, const SharedQueries& q,
                            const SharedKeysValues<T>& shared, std::size_t head, float* scores) {
  const std::size_t offset = head * shape.head_size, size = shared.tokens * shape.head_size;
  const SharedKeysValues<T> own{shared.keys + head * size, shared.values + head * size,
                                shared.tokens};
  for (std::size_t first = 0; first < q.rows; first += kSharedRows) {
    const std::size_t at = first * shape.width() + offset;
    shared_rows(shape, q.queries + at, std::min(kSharedRows, q.rows - first), own, scores,
                q.out + at);
  }
}

void shared_head_kernel(const AttentionShape& shape, const SharedQueries& q,
                        const SharedKeysValues<float>& shared, std::size_t head, float* scores) {
  shared_head(shape, q, shared, head, scores);
}

void shared_head_bf16_kernel(const AttentionShape& shape, const SharedQueries& q,
                             const SharedKeysValues<std::uint16_t>& shared, std::size_t head,
                             float* scores) {
  shared_head(shape, q, shared, head, scores);
}

/// Columns of a packed panel: two vectors, so that each broadcast value serves twice.
std::size_t panel_width_kernel() {
  return 2 * hn::Lanes(hn::ScalableTag<float>());
}

/// One head's keys and values of `qkv` laid out for the tiles below, zeros filling the last panels:
/// keys [panels of tokens, head_size, width], values [panels of the head, tokens, width].
void pack_head_kernel(const AttentionShape& shape, const float* qkv, std::size_t tokens,
                      std::size_t head, const PackedHead& packed) {
  const std::size_t width = panel_width_kernel();
  const std::size_t stride = 3 * shape.width();
  const float* keys = qkv + shape.width() + head * shape.head_size;
  const float* values = keys + shape.width();
  float* to = packed.keys;
  for (std::size_t first = 0; first < tokens; first += width) {
    for (std::size_t i = 0; i < shape.head_size; ++i) {
      for (std::size_t t = first; t < first + width; ++t) {
        *to++ = t < tokens ? keys[t * stride + i] : 0.0f;
      }
    }
  }
  to = packed.values;
  for (std::size_t first = 0; first < shape.head_size; first += width) {
    const std::size_t columns = std::min(width, shape.head_size - first);
    for (std::size_t t = 0; t < tokens; ++t, to += width) {
      std::copy_n(values + t * stride + first, columns, to);
      std::fill(to + columns, to + width, 0.0f);
    }
  }
}

/// kRows x (two vectors) of a product: sum over k of left[r * left_stride + k] * panel[k], where
/// panel rows are two vectors wide. Written to y[r * y_stride ..], the first `columns` of them.
template <std::size_t kRows>
HWY_INLINE void panel_tile(const float* left, std::size_t left_stride, const float* panel,
                           std::size_t depth, std::size_t columns, std::size_t y_stride, float* y) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const std::size_t lanes = hn::Lanes(d);
  V sums[kRows][2];
  for (auto& row : sums) row[0] = row[1] = hn::Zero(d);
  for (std::size_t k = 0; k < depth; ++k) {
    const V first = hn::LoadU(d, panel + 2 * k * lanes);
    const V second = hn::LoadU(d, panel + (2 * k + 1) * lanes);
    for (std::size_t r = 0; r < kRows; ++r) {
      const V value = hn::Set(d, left[r * left_stride + k]);
      sums[r][0] = hn::MulAdd(value, first, sums[r][0]);
      sums[r][1] = hn::MulAdd(value, second, sums[r][1]);
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    float* to = y + r * y_stride;
    if (columns == 2 * lanes) {
      hn::StoreU(sums[r][0], d, to);
      hn::StoreU(sums[r][1], d, to + lanes);
      continue;
    }
    HWY_ALIGN float whole[2 * HWY_MAX_BYTES / sizeof(float)];
    hn::Store(sums[r][0], d, whole);
    hn::Store(sums[r][1], d, whole + lanes);
    std::copy_n(whole, columns, to);
  }
}

template <std::size_t kRows>
void attend_tile(const AttentionShape& shape, const float* query, std::size_t tokens,
                 const PackedHead& packed, float* scores, float* out) {
  const std::size_t width = panel_width_kernel();
  const std::size_t padded = (tokens + width - 1) / width * width;
  for (std::size_t first = 0; first < tokens; first += width) {
    panel_tile<kRows>(query, 3 * shape.width(), packed.keys + first * shape.head_size,
                      shape.head_size, width, padded, scores + first);
  }
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_size));
  for (std::size_t r = 0; r < kRows; ++r) softmax_row(scores + r * padded, tokens, scale);
  for (std::size_t first = 0; first < shape.head_size; first += width) {
    panel_tile<kRows>(scores, padded, packed.values + first * tokens, tokens,
                      std::min(width, shape.head_size - first), shape.width(), out + first);
  }
}

/// Queries [begin, end) of one head.
void attend_rows_kernel(const AttentionShape& shape, const float* qkv, std::size_t tokens,
                        std::size_t head, std::size_t begin, std::size_t end,
                        const PackedHead& packed, float* scores, float* out) {
  const std::size_t column = head * shape.head_size;
  const auto query = [&](std::size_t row) { return qkv + row * 3 * shape.width() + column; };
  const auto target = [&](std::size_t row) { return out + row * shape.width() + column; };
  std::size_t row = begin;
  for (; row + kQueryTile <= end; row += kQueryTile) {
    attend_tile<kQueryTile>(shape, query(row), tokens, packed, scores, target(row));
  }
  for (; row < end; ++row) attend_tile<1>(shape, query(row), tokens, packed, scores, target(row));
}

}  // namespace blip::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blip {

HWY_EXPORT(cached_head_kernel);
HWY_EXPORT(shared_head_kernel);
HWY_EXPORT(shared_head_bf16_kernel);
HWY_EXPORT(panel_width_kernel);
HWY_EXPORT(pack_head_kernel);
HWY_EXPORT(attend_rows_kernel);

namespace {

/// Room for scores of every thread of the next region, taken before it begins: an exception may
/// not leave one. One at a time: the memory stays the calling thread's.
class ThreadScores {
 public:
  explicit ThreadScores(std::size_t each) : each_((each + 15) / 16 * 16) {
    thread_local FloatBuffer kept;
    const std::size_t size = each_ * static_cast<std::size_t>(omp_get_max_threads());
    if (kept.size() < size) kept = FloatBuffer(size + size / 2);  // scores grow with every token
    scores_ = kept.data();
  }
  float* mine() { return scores_ + each_ * static_cast<std::size_t>(omp_get_thread_num()); }

 private:
  std::size_t each_;
  float* scores_;
};

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

void reference_all_to_all(const AttentionShape& shape, const float* qkv, std::size_t tokens,
                          float* out) {
  std::vector<float> scores(tokens);
  const std::size_t stride = 3 * shape.width();
  for (std::size_t i = 0; i < tokens; ++i) {
    for (std::size_t head = 0; head < shape.heads; ++head) {
      const float* query = qkv + i * stride + head * shape.head_size;
      const float* first = qkv + head * shape.head_size;
      reference_attend(
          query, shape.head_size, tokens,
          [&](std::size_t t) { return first + t * stride + shape.width(); },
          [&](std::size_t t) { return first + t * stride + 2 * shape.width(); }, scores.data(),
          out + i * shape.width() + head * shape.head_size);
    }
  }
}

void reference_shared(const AttentionShape& shape, const float* queries, std::size_t rows,
                      const SharedKeysValues<float>& shared, float* out) {
  std::vector<float> scores(shared.tokens);
  for (std::size_t head = 0; head < shape.heads; ++head) {
    const float* keys = shared.keys + head * shared.tokens * shape.head_size;
    const float* values = shared.values + head * shared.tokens * shape.head_size;
    for (std::size_t r = 0; r < rows; ++r) {
      const std::size_t offset = (r * shape.heads + head) * shape.head_size;
      reference_attend(
          queries + offset, shape.head_size, shared.tokens,
          [&](std::size_t t) { return keys + t * shape.head_size; },
          [&](std::size_t t) { return values + t * shape.head_size; }, scores.data(), out + offset);
    }
  }
}

/// Each head by `kernel`, in parallel.
template <class T, class Kernel>
void share_heads(const AttentionShape& shape, const SharedQueries& q,
                 const SharedKeysValues<T>& shared, Kernel kernel) {
  ThreadScores scores(std::min(q.rows, kSharedRows) * shared.tokens);
#pragma omp parallel for schedule( \
    static) if (worth_threads(2 * q.rows * shared.tokens * shape.width()))
  for (std::size_t head = 0; head < shape.heads; ++head) {
    kernel(shape, q, shared, head, scores.mine());
  }
}

}  // namespace

void attention_all_to_all(const AttentionShape& shape, const float* qkv, std::size_t tokens,
                          float* out, FloatBuffer& scratch) {
  if (active_isa() == Isa::reference) return reference_all_to_all(shape, qkv, tokens, out);
  const std::size_t width = HWY_DYNAMIC_DISPATCH(panel_width_kernel)();
  const auto padded = [&](std::size_t n) { return (n + width - 1) / width * width; };
  const std::size_t key_size = padded(tokens) * shape.head_size;
  const std::size_t head_size = key_size + tokens * padded(shape.head_size);
  if (scratch.size() < shape.heads * head_size) scratch = FloatBuffer(shape.heads * head_size);
  const auto packed = [&](std::size_t head) {
    float* first = scratch.data() + head * head_size;
    return PackedHead{first, first + key_size};
  };
  constexpr std::size_t kQueryBlock = 8 * kQueryTile;
  const std::size_t blocks = (tokens + kQueryBlock - 1) / kQueryBlock;
  ThreadScores scores(kQueryTile * padded(tokens));
#pragma omp parallel if (worth_threads(2 * tokens * tokens * shape.width()))
  {
#pragma omp for schedule(static)
    for (std::size_t head = 0; head < shape.heads; ++head) {
      HWY_DYNAMIC_DISPATCH(pack_head_kernel)(shape, qkv, tokens, head, packed(head));
    }
#pragma omp for collapse(2) schedule(static)
    for (std::size_t head = 0; head < shape.heads; ++head) {
      for (std::size_t block = 0; block < blocks; ++block) {
        const std::size_t begin = block * kQueryBlock;
        const std::size_t end = std::min(begin + kQueryBlock, tokens);
        HWY_DYNAMIC_DISPATCH(attend_rows_kernel)
        (shape, qkv, tokens, head, begin, end, packed(head), scores.mine(), out);
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
  ThreadScores scores(longest);
#pragma omp parallel for collapse(2) schedule(static) if (worth_threads(2 * total * shape.width()))
  for (std::size_t i = 0; i < queries.size(); ++i) {
    for (std::size_t head = 0; head < shape.heads; ++head) {
      const AttentionQuery& q = queries[i];
      if (!naive) {
        HWY_DYNAMIC_DISPATCH(cached_head_kernel)(shape, q, head, scores.mine());
        continue;
      }
      const std::size_t offset = head * shape.head_size;
      reference_attend(
          q.query + offset, shape.head_size, q.keys.size(),
          [&](std::size_t t) { return q.keys[t] + offset; },
          [&](std::size_t t) { return q.values[t] + offset; }, scores.mine(), q.out + offset);
    }
  }
}

void attention_shared(const AttentionShape& shape, const float* queries, std::size_t rows,
                      const SharedKeysValues<float>& shared, float* out) {
  if (active_isa() == Isa::reference) return reference_shared(shape, queries, rows, shared, out);
  share_heads(shape, {queries, rows, out}, shared, HWY_DYNAMIC_DISPATCH(shared_head_kernel));
}

void attention_shared(const AttentionShape& shape, const float* queries, std::size_t rows,
                      const SharedKeysValues<std::uint16_t>& shared, float* out) {
  if (active_isa() == Isa::reference) {
    const std::size_t size = shared.tokens * shape.width();
    std::vector<float> keys(size), values(size);
    widen_bf16(shared.keys, size, keys.data());
    widen_bf16(shared.values, size, values.data());
    return reference_shared(shape, queries, rows, {keys.data(), values.data(), shared.tokens}, out);
  }
  share_heads(shape, {queries, rows, out}, shared, HWY_DYNAMIC_DISPATCH(shared_head_bf16_kernel));
}

}  // namespace blip
#endif
