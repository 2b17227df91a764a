#include "blip/ops/tiles.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "blip/base/error.h"
#include "blip/ops/isa.h"

#if defined(__x86_64__) && defined(__linux__)
#pragma GCC diagnostic push
// GCC 12 warns of its own header (bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#include <sys/syscall.h>
#include <unistd.h>
#define BLIP_HAS_TILES 1
#define BLIP_TILE_CODE __attribute__((target("avx512f,avx512bw,amx-tile,amx-int8,amx-bf16")))
#else
#define BLIP_HAS_TILES 0
#endif

namespace blip {
namespace {

constexpr std::size_t kTileRows = 16, kTileRowBytes = 64, kTileBytes = kTileRows * kTileRowBytes;
/// Rows and columns of the sums that four tiles hold.
constexpr std::size_t kBlock = 2 * kTileRows;

std::size_t row_bytes_of(const WeightMatrix& w) {
  return w.in * (w.precision == Precision::int8 ? 1 : 2);
}

}  // namespace

std::size_t tiled_bytes(std::size_t rows, std::size_t row_bytes) {
  return (rows + kBlock - 1) / kBlock * kBlock * row_bytes;
}

void put_tiled_row(const void* row, std::size_t row_bytes, std::size_t r, std::uint8_t* tiled) {
  const auto* from = static_cast<const std::uint8_t*>(row);
  std::uint8_t* to = tiled + r / kTileRows * kTileRows * row_bytes + r % kTileRows * kTileRowBytes;
  for (std::size_t at = 0; at < row_bytes; at += kTileRowBytes, to += kTileBytes) {
    std::memcpy(to, from + at, kTileRowBytes);
  }
}

#if BLIP_HAS_TILES
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
BLIP_TILE_CODE void transpose_words(const std::uint8_t* from, std::size_t from_stride,
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

/// Columns of `w` as the right sides of tiles, [row bytes / 64, 2, 16, 64]: a tile's row holds four
/// bytes of each of 16 columns. Columns from columns.end on repeat the last one.
BLIP_TILE_CODE void pack_columns(const WeightMatrix& w, const ColumnRange& columns,
                                 std::uint8_t* to) {
  const std::size_t row_bytes = row_bytes_of(w);
  const auto* data = static_cast<const std::uint8_t*>(w.data);
  std::vector<std::uint8_t> tail;
  for (std::size_t half = 0; half < 2; ++half) {
    const std::size_t first = columns.begin + half * kTileRows;
    const std::uint8_t* from = data + first * row_bytes;
    if (first + kTileRows > columns.end) {
      tail.resize(kTileRows * row_bytes + 512);
      for (std::size_t n = 0; n < kTileRows; ++n) {
        const std::size_t column = std::min(first + n, columns.end - 1);
        std::memcpy(tail.data() + n * row_bytes, data + column * row_bytes, row_bytes);
      }
      from = tail.data();
    }
    for (std::size_t at = 0; at < row_bytes; at += kTileRowBytes) {
      transpose_words(from + at, row_bytes,
                      to + at / kTileRowBytes * 2 * kTileBytes + half * kTileBytes);
    }
  }
}

/// 32 rows times 32 packed columns; `stride` bytes from one row of sums to the next.
template <bool kIntegers>
BLIP_TILE_CODE void multiply_block(const std::uint8_t* upper, const std::uint8_t* lower,
                                   const std::uint8_t* packed, std::size_t steps, void* sums,
                                   std::size_t stride) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (std::size_t k = 0; k < steps; ++k) {
    _tile_loadd(6, packed + 2 * k * kTileBytes, kTileRowBytes);
    _tile_loadd(4, upper + k * kTileBytes, kTileRowBytes);
    _tile_loadd(7, packed + (2 * k + 1) * kTileBytes, kTileRowBytes);
    _tile_loadd(5, lower + k * kTileBytes, kTileRowBytes);
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
  _tile_stored(1, to + kTileRowBytes, stride);
  _tile_stored(2, to + kTileRows * stride, stride);
  _tile_stored(3, to + kTileRows * stride + kTileRowBytes, stride);
}

}  // namespace

bool fits_tiles(const WeightMatrix& w) {
  static const bool lent = system_lends_tiles();
  return w.precision != Precision::f32 && row_bytes_of(w) % kTileRowBytes == 0 &&
         active_isa() == Isa::amx && lent;
}

void multiply_tiles(const std::uint8_t* tiled, std::size_t rows, const WeightMatrix& w,
                    const ColumnRange& columns,
                    const std::function<void(const TileSums&)>& finish) {
  // As many packed columns as leave room for the rows in a second-level cache of 2 MiB: for short
  // rows all of them stay there, of long ones a block.
  const std::size_t row_bytes = row_bytes_of(w), steps = row_bytes / kTileRowBytes;
  const std::size_t budget = row_bytes < 4096 ? std::size_t{512} << 10 : std::size_t{1} << 20;
  const std::size_t group = std::clamp<std::size_t>(budget / row_bytes / kBlock, 1, 16) * kBlock;
  thread_local std::vector<std::uint8_t> packed, sums, compact;
  packed.resize(group * row_bytes);
  sums.resize(kBlock * group * 4);
  const TileRegisters registers;
  for (std::size_t begin = columns.begin; begin < columns.end; begin += group) {
    const ColumnRange c{begin, std::min(begin + group, columns.end)};
    const std::size_t panels = (c.width() + kBlock - 1) / kBlock;
    for (std::size_t p = 0; p < panels; ++p) {
      pack_columns(w, {begin + p * kBlock, c.end}, packed.data() + p * kBlock * row_bytes);
    }
    const std::size_t stride = panels * kBlock * 4;
    for (std::size_t first = 0; first < rows; first += kBlock) {
      const std::uint8_t* upper = tiled + first * row_bytes;
      const std::uint8_t* lower = upper + kTileRows * row_bytes;
      const auto multiply =
          w.precision == Precision::int8 ? multiply_block<true> : multiply_block<false>;
      for (std::size_t p = 0; p < panels; ++p) {
        multiply(upper, lower, packed.data() + p * kBlock * row_bytes, steps,
                 sums.data() + p * kBlock * 4, stride);
      }
      TileSums block{first, std::min(kBlock, rows - first), c, sums.data()};
      if (stride != c.width() * 4) {
        compact.resize(block.rows * c.width() * 4);
        for (std::size_t r = 0; r < block.rows; ++r) {
          std::memcpy(compact.data() + r * c.width() * 4, sums.data() + r * stride, c.width() * 4);
        }
        block.sums = compact.data();
      }
      finish(block);
    }
  }
}

#else

bool fits_tiles(const WeightMatrix&) {
  return false;
}

void multiply_tiles(const std::uint8_t*, std::size_t, const WeightMatrix&, const ColumnRange&,
                    const std::function<void(const TileSums&)>&) {
  throw Error(ErrorCode::internal, "this CPU has no tiles");
}

#endif

}  // namespace blip
