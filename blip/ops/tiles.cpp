#include "blip/ops/tiles.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "blip/base/error.h"
#include "blip/ops/avx512-inl.h"
#include "blip/ops/isa.h"

#if BLIP_HAS_AVX512
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace blip {
namespace {

/// Bytes of a row that lie together, and the columns of a register or tile of sums.
constexpr std::size_t kPiece = 64, kLanes = 16;
/// 16 columns' pieces, packed.
constexpr std::size_t kPackedBytes = kLanes * kPiece;
/// Columns that are multiplied at once.
constexpr std::size_t kPanel = 2 * kLanes;

std::size_t row_bytes_of(const WeightMatrix& w) {
  switch (w.precision) {
    case Precision::f32:
      return w.in * 4;
    case Precision::bf16:
      return w.in * 2;
    case Precision::int8:
      break;
  }
  return w.in;
}

}  // namespace

std::uint8_t* reuse(FloatBuffer& kept, std::size_t bytes) {
  const std::size_t floats = (bytes + sizeof(float) - 1) / sizeof(float);
  if (kept.size() < floats) kept = FloatBuffer(floats);
  return reinterpret_cast<std::uint8_t*>(kept.data());
}

bool fits_tiles(const WeightMatrix& w) {
  return tiles_multiply(w.precision) && row_bytes_of(w) % kPiece == 0;
}

PiecedRows TiledRows::pieces(std::size_t r, std::uint8_t* tiled) const {
  return {tiled + r / tile_rows * tile_rows * row_bytes + r % tile_rows * kPiece, kPiece,
          tile_rows * kPiece};
}

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

/// Whole tiles in all eight registers while it lives.
class TileRegisters {
 public:
  BLIP_TILE_CODE TileRegisters() { _tile_loadconfig(&kWholeTiles); }
  BLIP_TILE_CODE ~TileRegisters() { _tile_release(); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

/// to[i][n] = from[n][i] of 16 rows of 16 words, `from_stride` bytes apart.
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

/// Columns of `w` as right sides, [row bytes / 64, 2, 16, 64]: each 64 bytes hold four bytes of
/// each of 16 columns. Columns from columns.end on repeat the last one.
BLIP_AVX512_CODE void pack_columns(const WeightMatrix& w, const ColumnRange& columns,
                                   std::uint8_t* to) {
  const std::size_t row_bytes = row_bytes_of(w);
  const auto* data = static_cast<const std::uint8_t*>(w.data);
  std::vector<std::uint8_t> tail;
  for (std::size_t half = 0; half < 2; ++half) {
    const std::size_t first = columns.begin + half * kLanes;
    const std::uint8_t* from = data + first * row_bytes;
    if (first + kLanes > columns.end) {
      tail.resize(kLanes * row_bytes + 512);
      for (std::size_t n = 0; n < kLanes; ++n) {
        const std::size_t column = std::min(first + n, columns.end - 1);
        std::memcpy(tail.data() + n * row_bytes, data + column * row_bytes, row_bytes);
      }
      from = tail.data();
    }
    for (std::size_t at = 0; at < row_bytes; at += kPiece) {
      transpose_words(from + at, row_bytes,
                      to + at / kPiece * 2 * kPackedBytes + half * kPackedBytes);
    }
  }
}

/// A block of rows times a panel of packed columns; `stride` bytes from one row of sums to the
/// next.
using MultiplyBlock = void (*)(const std::uint8_t* rows, const std::uint8_t* packed,
                               std::size_t pieces, void* sums, std::size_t stride);

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
template <Precision kPrecision, int kRows>
BLIP_DOT_CODE void multiply_registers(const std::uint8_t* rows, const std::uint8_t* packed,
                                      std::size_t pieces, void* sums, std::size_t stride) {
  __m512 left[kRows], right[kRows];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) left[r] = right[r] = _mm512_setzero_ps();
  for (std::size_t piece = 0; piece < pieces; ++piece) {
    for (std::size_t k = 0; k < kPiece; k += 4) {
      const __m512i first = _mm512_loadu_si512(packed + k * kLanes);
      const __m512i second = _mm512_loadu_si512(packed + kPackedBytes + k * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        std::int32_t word;
        std::memcpy(&word, rows + static_cast<std::size_t>(r) * kPiece + k, 4);
        const __m512i row = _mm512_set1_epi32(word);
        left[r] = add_dot<kPrecision>(left[r], row, first);
        right[r] = add_dot<kPrecision>(right[r], row, second);
      }
    }
    rows += kRows * kPiece;
    packed += 2 * kPackedBytes;
  }
  auto* to = static_cast<std::uint8_t*>(sums);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    _mm512_storeu_ps(to, left[r]);
    _mm512_storeu_ps(to + kPiece, right[r]);
    to += stride;
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
                                       std::size_t pieces, void* sums, std::size_t stride) {
  const std::uint8_t* lower = rows + pieces * kTileBytes;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (std::size_t k = 0; k < pieces; ++k) {
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

}  // namespace

bool in_amx(Precision precision) {
  static const bool lent = has_feature("avx512_bf16") && system_lends_tiles();
  return precision != Precision::f32 && active_isa() == Isa::amx && lent;
}

namespace {

bool in_registers(Precision precision) {
  static const bool bf16 = has_feature("avx512_bf16"), vnni = has_feature("avx512_vnni");
  if (active_isa() < Isa::avx512) return false;
  return precision == Precision::f32 || (precision == Precision::bf16 ? bf16 : vnni);
}

MultiplyBlock block_for(Precision precision, std::size_t tile_rows) {
  const bool amx = in_amx(precision);
  switch (precision) {
    case Precision::f32:
      return registers_for<Precision::f32>(tile_rows);
    case Precision::bf16:
      return amx ? multiply_tile_pair<false> : registers_for<Precision::bf16>(tile_rows);
    case Precision::int8:
      break;
  }
  return amx ? multiply_tile_pair<true> : registers_for<Precision::int8>(tile_rows);
}

/// Memory that is needed soon.
struct Ahead {
  const std::uint8_t* begin = nullptr;
  std::size_t bytes = 0;

  /// Fetches the next `count` bytes of it to the second-level cache.
  void fetch(std::size_t count) {
    const std::size_t end = std::min(count, bytes);
    for (std::size_t i = 0; i < end; i += kPiece)
      _mm_prefetch(reinterpret_cast<const char*>(begin + i), _MM_HINT_T1);
    begin += end;
    bytes -= end;
  }
};

/// All rows times packed columns, block by block; `ahead` is fetched meanwhile. In AMX the tiles'
/// registers are ready.
void multiply_group(const std::uint8_t* tiled, const TiledRows& layout, const std::uint8_t* packed,
                    const ColumnRange& columns, Ahead ahead,
                    const std::function<void(const TileSums&)>& finish) {
  const std::size_t row_bytes = layout.row_bytes, rows = layout.rows, block = layout.block_rows;
  const std::size_t width = (columns.width() + kPanel - 1) / kPanel * kPanel;
  const MultiplyBlock multiply = block_for(layout.precision, layout.tile_rows);
  const std::size_t steps = (rows + block - 1) / block * (width / kPanel);
  const std::size_t share = (ahead.bytes / steps / kPiece + 1) * kPiece;
  thread_local FloatBuffer kept;
  std::uint8_t* sums = reuse(kept, block * width * 4);
  for (std::size_t first = 0; first < rows; first += block) {
    for (std::size_t at = 0; at < width; at += kPanel) {
      multiply(tiled + first * row_bytes, packed + at * row_bytes, row_bytes / kPiece,
               sums + at * 4, width * 4);
      ahead.fetch(share);
    }
    finish({first, std::min(block, rows - first), columns, sums, width});
  }
}

}  // namespace

bool tiles_multiply(Precision precision) {
  return in_amx(precision) || in_registers(precision);
}

BLIP_DOT_CODE void TiledRows::round(const float* values, std::size_t stride, std::size_t r,
                                    std::size_t count, const ColumnRange& columns,
                                    std::uint8_t* tiled) const {
  const std::size_t size = precision == Precision::f32 ? 4 : 2;
  std::uint8_t* to = pieces(r, tiled).first + columns.begin * size / kPiece * tile_rows * kPiece;
  for (std::size_t at = 0; at < columns.width(); at += kPiece / size, to += tile_rows * kPiece) {
    for (std::size_t i = 0; i < count; ++i) {
      const float* from = values + i * stride + at;
      const __m512 first = _mm512_loadu_ps(from);
      if (precision == Precision::f32) {
        _mm512_storeu_ps(to + i * kPiece, first);
      } else {
        const __m512 second = _mm512_loadu_ps(from + kLanes);
        _mm512_storeu_si512(to + i * kPiece, (__m512i)_mm512_cvtne2ps_pbh(second, first));
      }
    }
  }
}

BLIP_DOT_CODE void round_in_registers(const float* x, std::size_t size, std::uint16_t* y) {
  std::size_t i = 0;
  for (; i + 2 * kLanes <= size; i += 2 * kLanes) {
    const __m512 first = _mm512_loadu_ps(x + i), second = _mm512_loadu_ps(x + i + kLanes);
    _mm512_storeu_si512(y + i, (__m512i)_mm512_cvtne2ps_pbh(second, first));
  }
  for (; i < size; i += kLanes) {
    const auto mask = static_cast<__mmask16>((1u << std::min(kLanes, size - i)) - 1);
    const auto rounded = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x + i));
    _mm512_mask_storeu_epi16(y + i, mask, _mm512_castsi256_si512(rounded));
  }
}

TiledRows tiled_rows(const WeightMatrix& w, std::size_t rows) {
  if (in_amx(w.precision)) return {w.precision, rows, row_bytes_of(w), kTileRows, 2 * kTileRows};
  // Of the sizes that a block can have, that which leaves least of the last one empty.
  std::size_t best = kMostRows;
  const auto multiplied = [rows](std::size_t block) { return (rows + block - 1) / block * block; };
  for (std::size_t block = kMostRows; block >= kLeastRows; --block) {
    if (multiplied(block) < multiplied(best)) best = block;
  }
  return {w.precision, rows, row_bytes_of(w), best, best};
}

void multiply_tiles(const std::uint8_t* tiled, const TiledRows& layout, const WeightMatrix& w,
                    const ColumnRange& columns, const std::function<void(const TileSums&)>& finish,
                    bool whole_rows) {
  // As many packed columns as leave room for the rows in a second-level cache, of 2 MiB where there
  // is AMX, else of 1: for short rows all of them stay there, of long ones a block.
  const std::size_t row_bytes = layout.row_bytes;
  const bool amx = in_amx(w.precision);
  const std::size_t budget =
      amx && row_bytes >= 4096 ? std::size_t{1} << 20 : std::size_t{512} << 10;
  const std::size_t group =
      kPanel * (whole_rows ? (columns.width() + kPanel - 1) / kPanel
                           : std::clamp<std::size_t>(budget / row_bytes / kPanel, 1, 16));
  thread_local FloatBuffer kept;
  std::uint8_t* packed = reuse(kept, group * row_bytes);
  std::optional<TileRegisters> registers;
  if (amx) registers.emplace();
  for (std::size_t begin = columns.begin; begin < columns.end; begin += group) {
    const ColumnRange c{begin, std::min(begin + group, columns.end)};
    for (std::size_t at = 0; at < c.width(); at += kPanel) {
      pack_columns(w, {begin + at, c.end}, packed + at * row_bytes);
    }
    const std::size_t next = std::min(group, columns.end - c.end);
    multiply_group(tiled, layout, packed, c,
                   {static_cast<const std::uint8_t*>(w.data) + c.end * row_bytes, next * row_bytes},
                   finish);
  }
}

void multiply_packed(const std::uint8_t* tiled, const TiledRows& layout, const std::uint8_t* packed,
                     std::size_t columns, const std::function<void(const TileSums&)>& finish) {
  std::optional<TileRegisters> registers;
  if (in_amx(layout.precision)) registers.emplace();
  multiply_group(tiled, layout, packed, {0, columns}, {}, finish);
}

#else

bool in_amx(Precision) {
  return false;
}

bool tiles_multiply(Precision) {
  return false;
}

void TiledRows::round(const float*, std::size_t, std::size_t, std::size_t, const ColumnRange&,
                      std::uint8_t*) const {
  throw Error(ErrorCode::internal, "this CPU has no tiles");
}

TiledRows tiled_rows(const WeightMatrix&, std::size_t) {
  throw Error(ErrorCode::internal, "this CPU has no tiles");
}

void multiply_tiles(const std::uint8_t*, const TiledRows&, const WeightMatrix&, const ColumnRange&,
                    const std::function<void(const TileSums&)>&, bool) {
  throw Error(ErrorCode::internal, "this CPU has no tiles");
}

void multiply_packed(const std::uint8_t*, const TiledRows&, const std::uint8_t*, std::size_t,
                     const std::function<void(const TileSums&)>&) {
  throw Error(ErrorCode::internal, "this CPU has no tiles");
}

void round_in_registers(const float*, std::size_t, std::uint16_t*) {
  throw Error(ErrorCode::internal, "this CPU has no tiles");
}

#endif

}  // namespace blip
