#include <cstring>

#include "blip/base/error.h"
#include "blip/ops/isa.h"
#include "blip/ops/tile_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define BLIP_AVX2_CODE __attribute__((target("avx2,fma")))
#endif

namespace blip {

#if defined(__x86_64__)
namespace {

/// to[i] = from[.][i] of eight rows of eight words, in registers.
BLIP_AVX2_CODE inline void transpose_eight(__m256 (&a)[8]) {
  __m256 b[8];
  for (int n = 0; n < 8; n += 2) {
    b[n] = _mm256_unpacklo_ps(a[n], a[n + 1]);
    b[n + 1] = _mm256_unpackhi_ps(a[n], a[n + 1]);
  }
  for (int n = 0; n < 8; n += 4) {
    a[n] = _mm256_shuffle_ps(b[n], b[n + 2], 0x44);
    a[n + 1] = _mm256_shuffle_ps(b[n], b[n + 2], 0xEE);
    a[n + 2] = _mm256_shuffle_ps(b[n + 1], b[n + 3], 0x44);
    a[n + 3] = _mm256_shuffle_ps(b[n + 1], b[n + 3], 0xEE);
  }
  for (int i = 0; i < 4; ++i) {
    b[i] = _mm256_permute2f128_ps(a[i], a[i + 4], 0x20);
    b[i + 4] = _mm256_permute2f128_ps(a[i], a[i + 4], 0x31);
  }
  for (int i = 0; i < 8; ++i) a[i] = b[i];
}

/// Eight words at `from`, or as many bf16 values that become f32.
template <bool kWiden>
BLIP_AVX2_CODE inline __m256 load_words(const std::uint8_t* from) {
  if constexpr (!kWiden) return _mm256_loadu_ps(reinterpret_cast<const float*>(from));
  const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

template <bool kWiden>
BLIP_AVX2_CODE void transpose(const std::uint8_t* from, std::size_t from_stride, std::uint8_t* to) {
  constexpr std::size_t kHalf = kWiden ? 16 : 32;  // bytes of eight values
  for (std::size_t columns = 0; columns < kLanes; columns += 8) {
    const std::uint8_t* row = from + columns * from_stride;
    for (std::size_t half = 0; half < 2; ++half) {
      __m256 words[8];
      for (std::size_t n = 0; n < 8; ++n) {
        const std::uint8_t* at = row + n * from_stride + half * kHalf;
        if (half == 0) _mm_prefetch(reinterpret_cast<const char*>(at + 512), _MM_HINT_T0);
        words[n] = load_words<kWiden>(at);
      }
      transpose_eight(words);
      for (std::size_t i = 0; i < 8; ++i) {
        std::uint8_t* word = to + (half * 8 + i) * kPiece + columns * 4;
        _mm256_storeu_ps(reinterpret_cast<float*>(word), words[i]);
      }
    }
  }
}

BLIP_AVX2_CODE inline __m256i load(const std::uint8_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

enum class Instruction { fma, maddubs, dpbusd };

/// sums + the products of a row's word, which every lane of `row` has, and eight columns' words.
template <Instruction kInstruction>
BLIP_AVX2_CODE inline __m256i add_dot(__m256i sums, __m256i row, __m256i columns) {
  if constexpr (kInstruction == Instruction::fma) {
    return _mm256_castps_si256(_mm256_fmadd_ps(
        _mm256_castsi256_ps(row), _mm256_castsi256_ps(columns), _mm256_castsi256_ps(sums)));
  } else if constexpr (kInstruction == Instruction::maddubs) {
    // Two products fit 16 bits, since rows have 7.
    const __m256i pairs = _mm256_maddubs_epi16(row, columns);
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  } else {
    // As assembly: a function compiled for AVX-VNNI would run nowhere else.
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums) : "x"(row), "x"(columns));
    return sums;
  }
}

/// Rows for which two registers of sums each, two of columns and one of a row's fit the 16 there
/// are.
constexpr std::size_t kRows = 6;

/// First 16 columns, then the others. Sums are in the order of values.
template <Instruction kInstruction>
BLIP_AVX2_CODE void multiply_registers(const std::uint8_t* rows, const std::uint8_t* packed,
                                       std::size_t pieces, void* sums, std::size_t stride, bool add,
                                       Ahead& ahead) {
  for (std::size_t half = 0; half < 2; ++half) {
    std::uint8_t* to = static_cast<std::uint8_t*>(sums) + half * kPiece;
    __m256i left[kRows], right[kRows];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
      left[r] = add ? load(to + r * stride) : _mm256_setzero_si256();
      right[r] = add ? load(to + r * stride + 32) : _mm256_setzero_si256();
    }
    const std::uint8_t* row = rows;
    const std::uint8_t* columns = packed + half * kPackedBytes;
    for (std::size_t piece = 0; piece < pieces; ++piece) {
      if (piece % 2 == half) ahead.fetch();  // once for both halves
#pragma GCC unroll 4
      for (std::size_t k = 0; k < kPiece; k += 4) {
        const __m256i first = load(columns + k * kLanes), second = load(columns + k * kLanes + 32);
#pragma GCC unroll 8
        for (std::size_t r = 0; r < kRows; ++r) {
          std::int32_t word;
          std::memcpy(&word, row + r * kPiece + k, 4);
          const __m256i value = _mm256_set1_epi32(word);
          left[r] = add_dot<kInstruction>(left[r], value, first);
          right[r] = add_dot<kInstruction>(right[r], value, second);
        }
      }
      row += kRows * kPiece;
      columns += 2 * kPackedBytes;
    }
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
      auto* target = reinterpret_cast<__m256i*>(to + r * stride);
      _mm256_storeu_si256(target, left[r]);
      _mm256_storeu_si256(target + 1, right[r]);
    }
  }
}

template <Instruction kInstruction>
MultiplyBlock registers_for(std::size_t /*rows*/) {
  return multiply_registers<kInstruction>;
}

constexpr TileKernels in_registers(std::size_t budget, std::size_t depth,
                                   MultiplyBlock (*multiply)(std::size_t)) {
  return {.least_rows = kRows,
          .most_rows = kRows,
          .long_rows_budget = budget,
          .budget = budget,
          .depth = depth,
          .transpose = transpose<false>,
          .multiply = multiply};
}

}  // namespace

const TileKernels* avx2_kernels(Precision precision) {
  // Second-level caches are of 512 KiB and more. f32 rows of 4096 values and their columns do not
  // fit there: in parts they are multiplied a third faster (Zen 3; 512 bytes to 2 KiB alike).
  constexpr std::size_t kKiB = 1024;
  static constexpr TileKernels kF32 =
      in_registers(256 * kKiB, kKiB, registers_for<Instruction::fma>);
  static constexpr TileKernels kInt8 =
      in_registers(128 * kKiB, SIZE_MAX, registers_for<Instruction::maddubs>);
  static constexpr TileKernels kVnni =
      in_registers(128 * kKiB, SIZE_MAX, registers_for<Instruction::dpbusd>);
  static const bool vnni = has_feature("avx_vnni");
  if (precision == Precision::f32) return &kF32;
  if (precision == Precision::bf16) return nullptr;
  return vnni ? &kVnni : &kInt8;
}

BLIP_AVX2_CODE void widen_panel(const std::uint8_t* from, std::size_t pieces, std::uint8_t* to) {
  constexpr std::size_t kWords = kPiece / 4;
  for (std::size_t i = 0; i < pieces; ++i) {
    for (std::size_t half = 0; half < 2; ++half, from += kPackedBytes) {
      // A word has two values of a row; they are two words of the same piece now, the second half
      // of them in the next.
      for (std::size_t k = 0; k < 2 * kWords; k += 2) {
        const std::uint8_t* word = from + k / 2 * kPiece;
        _mm_prefetch(reinterpret_cast<const char*>(word + 4 * kPackedBytes), _MM_HINT_T0);
        std::uint8_t* two = to + (2 * i + k / kWords) * 2 * kPackedBytes + half * kPackedBytes +
                            k % kWords * kPiece;
        for (std::size_t lanes = 0; lanes < kPiece; lanes += 32) {
          const __m256i words = load(word + lanes);
          const __m256i low = _mm256_slli_epi32(words, 16);
          const __m256i high = _mm256_andnot_si256(_mm256_set1_epi32(0xFFFF), words);
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(two + lanes), low);
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(two + kPiece + lanes), high);
        }
      }
    }
  }
}

void transpose_widened(const std::uint8_t* from, std::size_t from_stride, std::uint8_t* to) {
  transpose<true>(from, from_stride, to);
}

#else

const TileKernels* avx2_kernels(Precision) {
  return nullptr;
}

void widen_panel(const std::uint8_t*, std::size_t, std::uint8_t*) {
  throw Error(ErrorCode::internal, "this CPU has no tiles");
}

void transpose_widened(const std::uint8_t*, std::size_t, std::uint8_t*) {
  throw Error(ErrorCode::internal, "this CPU has no tiles");
}

#endif

}  // namespace blip
