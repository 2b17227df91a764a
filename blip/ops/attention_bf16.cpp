#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/tensor.h"
#include "blip/ops/attention.h"
#include "blip/ops/avx512-inl.h"
#include "blip/ops/threads.h"
#include "blip/ops/tiles.h"

namespace blip {

#if BLIP_HAS_AVX512
namespace {

/// y = x rounded to bf16, nearest even; zeros from `size` to `padded`, a multiple of 32.
BLIP_DOT_CODE void round_row(const float* x, std::size_t size, std::size_t padded,
                             std::uint16_t* y) {
  for (std::size_t i = 0; i < padded; i += 32) {
    const std::size_t left = i < size ? size - i : 0;
    const auto low = static_cast<__mmask16>(left < 16 ? (1u << left) - 1 : 0xFFFF);
    const auto high = static_cast<__mmask16>(left < 16   ? 0
                                             : left < 32 ? (1u << (left - 16)) - 1
                                                         : 0xFFFF);
    const __m512 first = _mm512_maskz_loadu_ps(low, x + i);
    const __m512 second = _mm512_maskz_loadu_ps(high, x + i + 16);
    _mm512_storeu_si512(y + i, (__m512i)_mm512_cvtne2ps_pbh(second, first));
  }
}

/// 2^x; 0 where that is too small. Taylor's series of 2^r, |r| <= 1/2: relative error under 1e-4,
/// where bf16 follows.
BLIP_DOT_CODE inline __m512 exp2_coarsely(__m512 x) {
  const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 r = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(9.61812911e-3f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.55041087e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.40226507e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.93147181e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}

/// weights = exp((scores - their largest) * scale) rounded to bf16; returns 1 / the sum of what was
/// rounded. `width` is a multiple of 32; scores beyond `size` are overwritten and count for
/// nothing.
BLIP_DOT_CODE float weigh_row(float* scores, std::size_t size, std::size_t width, float scale,
                              std::uint16_t* weights) {
  std::fill(scores + size, scores + width, -1e30f);
  __m512 tops = _mm512_loadu_ps(scores), others = _mm512_loadu_ps(scores + 16);
  for (std::size_t i = 32; i < width; i += 32) {
    tops = _mm512_max_ps(tops, _mm512_loadu_ps(scores + i));
    others = _mm512_max_ps(others, _mm512_loadu_ps(scores + i + 16));
  }
  const float top = _mm512_reduce_max_ps(_mm512_max_ps(tops, others));
  const float log2_scale = scale * 1.44269504f;
  const __m512 factor = _mm512_set1_ps(log2_scale), offset = _mm512_set1_ps(-top * log2_scale);
  const auto ones = (__m512bh)_mm512_set1_epi16(0x3F80);
  __m512 sums = _mm512_setzero_ps();
  for (std::size_t i = 0; i < width; i += 32) {
    const __m512 a = exp2_coarsely(_mm512_fmadd_ps(_mm512_loadu_ps(scores + i), factor, offset));
    const __m512 b =
        exp2_coarsely(_mm512_fmadd_ps(_mm512_loadu_ps(scores + i + 16), factor, offset));
    const __m512bh rounded = _mm512_cvtne2ps_pbh(b, a);
    sums = _mm512_dpbf16_ps(sums, rounded, ones);
    _mm512_storeu_si512(weights + i, (__m512i)rounded);
  }
  return 1.0f / _mm512_reduce_add_ps(sums);
}

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
  s.queries.resize(tokens * row);
  s.keys.resize(tokens * row);
  s.values.assign(size * width, 0);
  s.row.resize(std::max(row, width));
  for (std::size_t t = 0; t < tokens; ++t) {
    const float* from = qkv + (t * 3 * shape.heads + head) * size;
    round_row(from, size, row, s.queries.data() + t * row);
    round_row(from + shape.width(), size, row, s.keys.data() + t * row);
    round_row(from + 2 * shape.width(), size, row, s.row.data());
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
        s.factors[scores.first + r] =
            weigh_row(static_cast<float*>(scores.sums) + r * scores.stride, tokens, width, scale,
                      s.row.data());
        weights.put(s.row.data(), scores.first + r, 1, s.tiled_weights.data());
      }
    };
    multiply_tiles(s.tiled_queries.data(), queries, keys, {0, tokens}, weigh, true);
    const auto finish = [&](const TileSums& sums) {
      for (std::size_t r = 0; r < sums.rows; ++r) {
        const float* from = static_cast<const float*>(sums.sums) + r * sums.stride;
        const float factor = s.factors[sums.first + r];
        float* y = out + (first + sums.first + r) * shape.width();
        for (std::size_t i = 0; i < size; ++i) y[i] = from[i] * factor;
      }
    };
    multiply_tiles(s.tiled_weights.data(), weights, values, {0, size}, finish, true);
  }
}

}  // namespace

void attention_all_to_all_bf16(const AttentionShape& shape, const float* qkv, std::size_t tokens,
                               float* out) {
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

#else

void attention_all_to_all_bf16(const AttentionShape&, const float*, std::size_t, float*) {
  throw Error(ErrorCode::internal, "this CPU has no tiles");
}

#endif

}  // namespace blip
