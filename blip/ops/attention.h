#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "blip/base/tensor.h"

namespace blip {

/// Sizes of a multi-head attention.
struct AttentionShape {
  std::size_t heads;
  std::size_t head_size;
  std::size_t width() const { return heads * head_size; }
};

/// Self-attention of all tokens to all, as in the vision encoder.
/// `qkv` [tokens, 3, heads, head_size] -> `out` [tokens, heads, head_size]. A few queries at a
/// time, so that their scores stay in the first-level cache. `scratch` grows to what is needed and
/// can be given again. Parallel over heads and blocks of queries.
void attention_all_to_all(const AttentionShape& shape, const float* qkv, std::size_t tokens,
                          float* out, FloatBuffer& scratch);

/// The same from bf16 for `pictures` of so many tokens, one after the other: weights are rounded
/// too, sums are f32. Parallel over pictures, heads and shares of queries. Only where
/// tiles_multiply(Precision::bf16).
void attention_all_to_all_bf16(const AttentionShape& shape, const std::uint16_t* qkv,
                               std::size_t pictures, std::size_t tokens, float* out);

/// One query and the tokens it attends to, each [heads, head_size] somewhere in a cache.
struct AttentionQuery {
  const float* query;                    ///< [heads, head_size]
  std::span<const float* const> keys;    ///< one pointer per attended token
  std::span<const float* const> values;  ///< one pointer per attended token
  float* out;                            ///< [heads, head_size]
};

/// Causal self-attention over a cache whose tokens lie anywhere. Parallel over queries and heads
/// when the work is worth it.
void attention_cached(const AttentionShape& shape, std::span<const AttentionQuery> queries);

/// Keys and values that several queries share, head-major so that each head reads in one stream:
/// f32 (float) or bf16 (std::uint16_t).
template <class T>
struct SharedKeysValues {
  const T* keys;    ///< [heads, tokens, head_size]
  const T* values;  ///< [heads, tokens, head_size]
  std::size_t tokens;
};

/// Cross-attention of `queries` [rows, heads, head_size] to one set of keys and values, read once
/// per head for all rows -> `out` [rows, heads, head_size]. Parallel over heads.
void attention_shared(const AttentionShape& shape, const float* queries, std::size_t rows,
                      const SharedKeysValues<float>& shared, float* out);
void attention_shared(const AttentionShape& shape, const float* queries, std::size_t rows,
                      const SharedKeysValues<std::uint16_t>& shared, float* out);

}  // namespace blip
