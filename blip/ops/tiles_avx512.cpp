#include <algorithm>
#include <cstring>

#include "blip/base/error.h"
#include "blip/ops/avx512-inl.h"
#include "blip/ops/isa.h"
#include "blip/ops/tile_kernels.h"
#include "blip/ops/tiles.h"

#if BLIP_HAS_AVX512
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace blip {

#if BLIP_HAS_AVX512
namespace {

/// Linux lends the tiles' registers to a process that asks.
bool system_lends_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

struct alignas(64) TileConfiguration {
  std::uint8_t palette, start_row, reserved[14];
  std::uint16_t row_bytes[16];
  std::uint8_t rows[16];
};
// A constant of the program: GCC 12 takes it that only the first eight bytes are read.
constexpr TileConfiguration kWholeTiles = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

/// Whole tiles in all eight registers.
BLIP_TILE_CODE void begin_tiles() {
  _tile_loadconfig(&kWholeTiles);
}
BLIP_TILE_CODE void end_tiles() {
  _tile_release();
}

BLIP_AVX512_CODE void transpose_words(const std::uint8_t* from, std::size_t from_stride,
                                      std::uint8_t* to) {
  __m512i a[16], b[16];
  for (std::size_t n = 0; n < 16; ++n) {
    _mm_prefetch(reinterpret_cast<const char*>(from + n * from_stride + 512), _MM_HINT_T0);
    a[n] = _mm512_loadu_si512(from + n * from_stride);
  }
  // Words of two rows, pairs of four, then the quarters of registers twice.
  for (std::size_t n = 0; n < 16; n += 2) {
    b[n] = _mm512_unpacklo_epi32(a[n], a[n + 1]);
    b[n + 1] = _mm512_unpackhi_epi32(a[n], a[n + 1]);
  }
  for (std::size_t n = 0; n < 16; n += 4) {
    a[n] = _mm512_unpacklo_epi64(b[n], b[n + 2]);
    a[n + 1] = _mm512_unpackhi_epi64(b[n], b[n + 2]);
    a[n + 2] = _mm512_unpacklo_epi64(b[n + 1], b[n + 3]);
    a[n + 3] = _mm512_unpackhi_epi64(b[n + 1], b[n + 3]);
  }
  for (std::size_t i = 0; i < 4; ++i) {
    b[i] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0x88);
    b[i + 4] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0xDD);
    b[i + 8] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0x88);
    b[i + 12] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0xDD);
  }
  for (std::size_t i = 0; i < 4; ++i) {
    _mm512_storeu_si512(to + i * 64, _mm512_shuffle_i32x4(b[i], b[i + 8], 0x88));
    _mm512_storeu_si512(to + (i + 8) * 64, _mm512_shuffle_i32x4(b[i], b[i + 8], 0xDD));
    _mm512_storeu_si512(to + (i + 4) * 64, _mm512_shuffle_i32x4(b[i + 4], b[i + 12], 0x88));
    _mm512_storeu_si512(to + (i + 12) * 64, _mm512_shuffle_i32x4(b[i + 4], b[i + 12], 0xDD));
  }
}

template <Precision kPrecision>
BLIP_DOT_CODE inline __m512 add_dot(__m512 sum, __m512i row, __m512i columns) {
  if constexpr (kPrecision == Precision::f32) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(row), _mm512_castsi512_ps(columns), sum);
  } else if constexpr (kPrecision == Precision::bf16) {
    return _mm512_dpbf16_ps(sum, (__m512bh)row, (__m512bh)columns);
  } else {
    return _mm512_castsi512_ps(_mm512_dpbusd_epi32(_mm512_castps_si512(sum), row, columns));
  }
}

/// In AVX-512's registers, two for each row. The sums of a row are in the order of its values.
template <Precision kPrecision, std::size_t kRows>
BLIP_DOT_CODE void multiply_registers(const std::uint8_t* rows, const std::uint8_t* packed,
                                      std::size_t pieces, void* sums, std::size_t stride, bool add,
                                      Ahead& ahead) {
  auto* to = static_cast<std::uint8_t*>(sums);
  __m512 left[kRows], right[kRows];
#pragma GCC unroll 16
  for (std::size_t r = 0; r < kRows; ++r) {
    left[r] = add ? _mm512_loadu_ps(to + r * stride) : _mm512_setzero_ps();
    right[r] = add ? _mm512_loadu_ps(to + r * stride + kPiece) : _mm512_setzero_ps();
  }
  for (std::size_t piece = 0; piece < pieces; ++piece) {
    ahead.fetch();
    for (std::size_t k = 0; k < kPiece; k += 4) {
      const __m512i first = _mm512_loadu_si512(packed + k * kLanes);
      const __m512i second = _mm512_loadu_si512(packed + kPackedBytes + k * kLanes);
#pragma GCC unroll 16
      for (std::size_t r = 0; r < kRows; ++r) {
        std::int32_t word;
        std::memcpy(&word, rows + r * kPiece + k, 4);
        const __m512i row = _mm512_set1_epi32(word);
        left[r] = add_dot<kPrecision>(left[r], row, first);
        right[r] = add_dot<kPrecision>(right[r], row, second);
      }
    }
    rows += kRows * kPiece;
    packed += 2 * kPackedBytes;
  }
#pragma GCC unroll 16
  for (std::size_t r = 0; r < kRows; ++r) {
    _mm512_storeu_ps(to + r * stride, left[r]);
    _mm512_storeu_ps(to + r * stride + kPiece, right[r]);
  }
}

/// Rows for which two registers each, two of columns and one of a row's fit the 32 there are; fewer
/// than eight would wait for one another.
constexpr std::size_t kLeastRows = 8, kMostRows = 14;

template <Precision kPrecision>
MultiplyBlock registers_for(std::size_t rows) {
  constexpr MultiplyBlock kBlocks[] = {
      multiply_registers<kPrecision, 8>,  multiply_registers<kPrecision, 9>,
      multiply_registers<kPrecision, 10>, multiply_registers<kPrecision, 11>,
      multiply_registers<kPrecision, 12>, multiply_registers<kPrecision, 13>,
      multiply_registers<kPrecision, 14>};
  return kBlocks[rows - kLeastRows];
}

constexpr std::size_t kTileRows = 16, kTileBytes = kTileRows * kPiece;

/// In AMX's tiles: 32 rows.
template <bool kIntegers>
BLIP_TILE_CODE void multiply_tile_pair(const std::uint8_t* rows, const std::uint8_t* packed,
                                       std::size_t pieces, void* sums, std::size_t stride,
                                       bool /*add*/, Ahead& ahead) {
  const std::uint8_t* lower = rows + pieces * kTileBytes;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (std::size_t k = 0; k < pieces; ++k) {
    ahead.fetch();
    _tile_loadd(6, packed + 2 * k * kPackedBytes, kPiece);
    _tile_loadd(4, rows + k * kTileBytes, kPiece);
    _tile_loadd(7, packed + (2 * k + 1) * kPackedBytes, kPiece);
    _tile_loadd(5, lower + k * kTileBytes, kPiece);
    if constexpr (kIntegers) {
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
      _tile_dpbusd(2, 5, 6);
      _tile_dpbusd(3, 5, 7);
    } else {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  auto* to = static_cast<std::uint8_t*>(sums);
  _tile_stored(0, to, stride);
  _tile_stored(1, to + kPiece, stride);
  _tile_stored(2, to + kTileRows * stride, stride);
  _tile_stored(3, to + kTileRows * stride + kPiece, stride);
}

template <bool kIntegers>
MultiplyBlock tile_pair(std::size_t) {
  return multiply_tile_pair<kIntegers>;
}

// Second-level caches are of 1 MiB, of 2 where there is AMX.
constexpr std::size_t kMiB = std::size_t{1} << 20;

constexpr TileKernels in_registers(MultiplyBlock (*multiply)(std::size_t),
                                   std::size_t depth = SIZE_MAX) {
  return {.least_rows = kLeastRows,
          .most_rows = kMostRows,
          .long_rows_budget = kMiB * 3 / 8,
          .budget = kMiB * 3 / 8,
          .depth = depth,
          .transpose = transpose_words,
          .multiply = multiply};
}

constexpr TileKernels in_tiles(MultiplyBlock (*multiply)(std::size_t)) {
  return {.least_rows = kTileRows,
          .most_rows = kTileRows,
          .tiles = 2,
          .long_rows_budget = kMiB,
          .budget = kMiB / 2,
          .transpose = transpose_words,
          .multiply = multiply,
          .begin = begin_tiles,
          .end = end_tiles};
}

}  // namespace

const TileKernels* avx512_kernels(Precision precision) {
  // Rows of 4096 values of f32 and their columns do not fit the second-level cache.
  static constexpr TileKernels kF32 = in_registers(registers_for<Precision::f32>, 4096);
  static constexpr TileKernels kBf16 = in_registers(registers_for<Precision::bf16>);
  static constexpr TileKernels kInt8 = in_registers(registers_for<Precision::int8>);
  static const bool bf16 = has_feature("avx512_bf16"), vnni = has_feature("avx512_vnni");
  if (precision == Precision::f32) return &kF32;
  if (precision == Precision::bf16) return bf16 ? &kBf16 : nullptr;
  return vnni ? &kInt8 : nullptr;
}

const TileKernels* amx_kernels(Precision precision) {
  static constexpr TileKernels kBf16 = in_tiles(tile_pair<false>);
  static constexpr TileKernels kInt8 = in_tiles(tile_pair<true>);
  static const bool lent = has_feature("avx512_bf16") && system_lends_tiles();
  if (precision == Precision::f32 || !lent) return nullptr;
  return precision == Precision::bf16 ? &kBf16 : &kInt8;
}

BLIP_DOT_CODE void round_pieces(const float* values, std::size_t pieces, std::uint8_t* to,
                                std::size_t step) {
  for (std::size_t i = 0; i < pieces; ++i, values += 2 * kLanes, to += step) {
    const __m512 first = _mm512_loadu_ps(values), second = _mm512_loadu_ps(values + kLanes);
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(second, first));
  }
}

BLIP_DOT_CODE void round_in_registers(const float* x, std::size_t size, std::uint16_t* y) {
  const std::size_t pieces = size / (2 * kLanes);
  round_pieces(x, pieces, reinterpret_cast<std::uint8_t*>(y), kPiece);
  for (std::size_t i = pieces * 2 * kLanes; i < size; i += kLanes) {
    const auto mask = static_cast<__mmask16>((1u << std::min(kLanes, size - i)) - 1);
    const auto rounded = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x + i));
    _mm512_mask_storeu_epi16(y + i, mask, _mm512_castsi256_si512(rounded));
  }
}

#else

const TileKernels* avx512_kernels(Precision) {
  return nullptr;
}

const TileKernels* amx_kernels(Precision) {
  return nullptr;
}

void round_pieces(const float*, std::size_t, std::uint8_t*, std::size_t) {
  throw Error(ErrorCode::internal, "this CPU does not round to bf16");
}

void round_in_registers(const float*, std::size_t, std::uint16_t*) {
  throw Error(ErrorCode::internal, "this CPU does not round to bf16");
}

#endif

}  // namespace blip
