#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/tensor.h"
#include "blip/base/threads.h"
#include "blip/ops/attention.h"
#include "blip/ops/avx512-inl.h"
#include "blip/ops/tiles.h"

namespace blip {

#if BLIP_HAS_AVX512
namespace {

constexpr std::size_t kPiece = 64, kPadding = 32;  // bytes and values of a tile's piece

std::size_t padded(std::size_t n) {
  return parts_of(n, kPadding) * kPadding;
}

/// Values [begin, begin + 32) of a row of `size`; zeros beyond it.
BLIP_DOT_CODE inline __m512i load_piece(const std::uint16_t* row, std::size_t begin,
                                        std::size_t size) {
  const std::size_t left = size - begin;
  const auto mask = static_cast<__mmask32>(left < 32 ? (1u << left) - 1 : 0xFFFFFFFF);
  return _mm512_maskz_loadu_epi16(mask, row + begin);
}

/// A row of `size` values in pieces, `step` bytes from one to the next.
BLIP_DOT_CODE void put_row(const std::uint16_t* row, std::size_t size, std::uint8_t* to,
                           std::size_t step) {
  for (std::size_t i = 0; i < size; i += kPadding, to += step) {
    _mm512_storeu_si512(to, load_piece(row, i, size));
  }
}

/// A head's values [tokens, size], whose tokens are `stride` apart, as right sides of rows of
/// weights (multiply_packed): what two tokens have in a column lies together.
BLIP_DOT_CODE void pack_values(const std::uint16_t* values, std::size_t stride, std::size_t tokens,
                               std::size_t size, std::uint8_t* to) {
  __m512i low = _mm512_setzero_si512(), high = low;
  for (int i = 0; i < 16; ++i) {
    const auto lane = static_cast<__mmask16>(1u << i);
    low = _mm512_mask_set1_epi32(low, lane, i | (32 + i) << 16);
    high = _mm512_mask_set1_epi32(high, lane, (16 + i) | (48 + i) << 16);
  }
  for (std::size_t begin = 0; begin < size; begin += kPadding) {
    for (std::size_t t = 0; t < padded(tokens); t += 2) {
      const std::uint16_t* row = values + t * stride;
      const __m512i first = t < tokens ? load_piece(row, begin, size) : _mm512_setzero_si512();
      const __m512i second =
          t + 1 < tokens ? load_piece(row + stride, begin, size) : _mm512_setzero_si512();
      std::uint8_t* piece = to + t / kPadding * 2 * 16 * kPiece + t % kPadding / 2 * kPiece;
      _mm512_storeu_si512(piece, _mm512_permutex2var_epi16(first, low, second));
      _mm512_storeu_si512(piece + 16 * kPiece, _mm512_permutex2var_epi16(first, high, second));
    }
    to += kPadding * padded(tokens) * sizeof(std::uint16_t);
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

/// weights = exp((scores - their largest) * scale) rounded to bf16, in pieces `step` bytes apart;
/// returns 1 / the sum of what was rounded. `width` is a multiple of 32; scores beyond `size` are
/// overwritten and count for nothing.
BLIP_DOT_CODE float weigh_row(float* scores, std::size_t size, std::size_t width, float scale,
                              std::uint8_t* weights, std::size_t step) {
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
    _mm512_storeu_si512(weights, (__m512i)rounded);
    weights += step;
  }
  return 1.0f / _mm512_reduce_add_ps(sums);
}

/// Queries whose weights a thread holds at once: those of 577 tokens stay in a second-level cache.
/// For each lot of them keys and values are packed anew, so there are many where tokens are.
std::size_t queries_at_once(std::size_t tokens) {
  constexpr std::size_t kBudget = std::size_t{768} << 10, kLeast = 256;
  return std::min(tokens, std::max(kLeast, kBudget / (2 * padded(tokens))));
}

/// What a thread needs to attend with one head, and keeps from call to call.
struct HeadScratch {
  std::vector<std::uint16_t> keys;  ///< [tokens, head_size], padded with zeros to whole pieces
  std::vector<float> factors;       ///< [queries at once] 1 / sum of weights
  FloatBuffer tiled_queries, tiled_weights, packed_values;
};

/// Of bf16 rows [out, in], the left sides of whose products are to be laid out.
WeightMatrix as_weights(const std::uint16_t* values, std::size_t out, std::size_t in) {
  WeightMatrix w;
  w.precision = Precision::bf16;
  w.out = out;
  w.in = in;
  w.data = values;
  return w;
}

/// One head for queries [begin, end); `qkv` and `out` are its own part of the first token's.
void attend(const AttentionShape& shape, const std::uint16_t* qkv, std::size_t tokens,
            std::size_t begin, std::size_t end, HeadScratch& s, float* out) {
  const std::size_t size = shape.head_size, row = padded(size), width = padded(tokens);
  const std::size_t stride = 3 * shape.width();
  const float scale = 1.0f / std::sqrt(static_cast<float>(size));
  s.keys.resize(tokens * row);
  for (std::size_t t = 0; t < tokens; ++t) {
    put_row(qkv + shape.width() + t * stride, size,
            reinterpret_cast<std::uint8_t*>(s.keys.data() + t * row), kPiece);
  }
  std::uint8_t* values = reuse(s.packed_values, row * width * sizeof(std::uint16_t));
  pack_values(qkv + 2 * shape.width(), stride, tokens, size, values);
  const WeightMatrix keys = as_weights(s.keys.data(), tokens, row);
  const std::size_t step = queries_at_once(tokens);
  s.factors.resize(step);
  for (std::size_t first = begin; first < end; first += step) {
    const std::size_t rows = std::min(step, end - first);
    const TiledRows queries = tiled_rows(keys, rows);
    const TiledRows weights = tiled_rows(as_weights(nullptr, size, width), rows);
    std::uint8_t* tiled_queries = reuse(s.tiled_queries, queries.bytes());
    std::uint8_t* tiled_weights = reuse(s.tiled_weights, weights.bytes());
    for (std::size_t r = 0; r < rows; ++r) {
      const PiecedRows to = queries.pieces(r, tiled_queries);
      put_row(qkv + (first + r) * stride, size, to.first, to.piece_step);
    }
    const auto weigh = [&](const TileSums& scores) {
      for (std::size_t r = 0; r < scores.rows; ++r) {
        const PiecedRows to = weights.pieces(scores.first + r, tiled_weights);
        s.factors[scores.first + r] =
            weigh_row(static_cast<float*>(scores.sums) + r * scores.stride, tokens, width, scale,
                      to.first, to.piece_step);
      }
    };
    multiply_tiles(tiled_queries, queries, keys, {0, tokens}, weigh, true);
    const auto finish = [&](const TileSums& sums) {
      for (std::size_t r = 0; r < sums.rows; ++r) {
        const float* from = static_cast<const float*>(sums.sums) + r * sums.stride;
        const float factor = s.factors[sums.first + r];
        float* y = out + (first + sums.first + r) * shape.width();
        for (std::size_t i = 0; i < size; ++i) y[i] = from[i] * factor;
      }
    };
    multiply_packed(tiled_weights, weights, values, size, finish);
  }
}

/// Shares of each head's queries by which the threads are done soonest.
std::size_t query_shares(std::size_t heads, std::size_t tokens) {
  // Keys and values are packed for each share, which takes as long as so many queries.
  constexpr std::size_t kPacking = 64, kMost = 8;
  const auto threads = static_cast<std::size_t>(omp_get_max_threads());
  std::size_t best = 1, least = SIZE_MAX;
  for (std::size_t shares = 1; shares <= std::min(kMost, threads); ++shares) {
    const std::size_t rounds = parts_of(heads * shares, threads);
    const std::size_t time = rounds * (parts_of(tokens, shares) + kPacking);
    if (time < least) {
      least = time;
      best = shares;
    }
  }
  return best;
}

}  // namespace

void attention_all_to_all_bf16(const AttentionShape& shape, const std::uint16_t* qkv,
                               std::size_t pictures, std::size_t tokens, float* out) {
  const std::size_t shares = query_shares(pictures * shape.heads, tokens);
  const std::size_t parts = pictures * shape.heads * shares;
  RegionError error;
#pragma omp parallel for schedule( \
    static) if (worth_threads(2 * pictures * tokens * tokens * shape.width()))
  for (std::size_t part = 0; part < parts; ++part) {
    thread_local HeadScratch scratch;
    const std::size_t share = part % shares, head = part / shares % shape.heads;
    const std::size_t first = part / (shares * shape.heads) * tokens * shape.width();
    const std::size_t offset = head * shape.head_size;
    error.guard([&] {
      attend(shape, qkv + 3 * first + offset, tokens, tokens * share / shares,
             tokens * (share + 1) / shares, scratch, out + first + offset);
    });
  }
  error.rethrow();
}

#else

void attention_all_to_all_bf16(const AttentionShape&, const std::uint16_t*, std::size_t,
                               std::size_t, float*) {
  throw Error(ErrorCode::internal, "this CPU has no tiles");
}

#endif

}  // namespace blip
