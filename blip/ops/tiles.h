#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "blip/base/tensor.h"
#include "blip/ops/matmul.h"
#include "blip/ops/quantize.h"
#include "blip/ops/weight_matrix.h"

namespace blip {

/// Products of the hundreds of rows of a picture, straight from the checkpoint's layout or, which
/// saves packing columns anew for each picture, from panels: in AMX's tiles, or in the registers of
/// AVX-512 or AVX2. oneDNN 2.6 reaches a third of what the first can do, three quarters of the
/// second and as much of the third, but without AVX-VNNI and with neighbours that change a row's
/// last bits.

/// How many parts `size` makes, the last of them maybe smaller.
constexpr std::size_t parts_of(std::size_t size, std::size_t part) {
  return (size + part - 1) / part;
}

/// At least `bytes` of memory for tiles, at a cache line's beginning, in what a thread keeps from
/// call to call. What was there is lost where it must grow.
std::uint8_t* reuse(FloatBuffer& kept, std::size_t bytes);

/// Whether active_isa() allows it and the CPU multiplies so: AMX (where the system lends it) bf16
/// and int8, AVX-512 f32, with AVX512_BF16 bf16, with AVX512_VNNI int8, AVX2 f32 and int8.
bool tiles_multiply(Precision precision);
/// Whether it is AMX that multiplies so.
bool in_amx(Precision precision);
/// Whether tiles_multiply() the precision of `w`, or f32 that its bf16 is widened to, and rows are
/// whole pieces of 64 bytes.
bool fits_tiles(const WeightMatrix& w);

/// How the rows of a left side lie: [tiles, row_bytes / 64, tile_rows, 64].
struct TiledRows {
  Precision precision;  ///< of the values; f32 also where weights of bf16 are widened
  std::size_t rows;
  std::size_t row_bytes;
  std::size_t tile_rows;   ///< of one tile
  std::size_t block_rows;  ///< that are multiplied at once: one tile's or two's

  std::size_t bytes() const { return parts_of(rows, block_rows) * block_rows * row_bytes; }
  /// Where row `r` and those after it in its tile lie.
  PiecedRows pieces(std::size_t r, std::uint8_t* tiled) const;
  /// Rounds values [columns.begin, columns.end) of such rows to the precision and puts them there;
  /// `values` are the first row's, the next row's are `stride` on. Both ends are whole pieces.
  /// Not for int8.
  void round(const float* values, std::size_t stride, std::size_t r, std::size_t count,
             const ColumnRange& columns, std::uint8_t* tiled) const;
};

/// y = x [size] rounded to bf16, nearest even. Only where tiles_multiply(Precision::bf16).
void round_in_registers(const float* x, std::size_t size, std::uint16_t* y);

/// For `rows` rows to be multiplied with `w`. Only where fits_tiles(w).
TiledRows tiled_rows(const WeightMatrix& w, std::size_t rows);

/// A block of a product: y[first + r, columns.begin + n] = sums[r * stride + n] for r below `rows`;
/// std::int32_t where the weights are int8, else float. Whoever is given it may overwrite it: the
/// stride is `columns.width()` rounded up to 32.
struct TileSums {
  std::size_t first;
  std::size_t rows;
  ColumnRange columns;
  void* sums;
  std::size_t stride;
};

/// y[r, n] = x[r, :] . w[n, :] for the given columns, block by block: each is given to `finish`
/// while it is in the cache, but for long rows that are multiplied in parts; with `whole_rows` all
/// columns at once. `tiled` holds x as `layout` says. Serial. Only where fits_tiles(w).
void multiply_tiles(const std::uint8_t* tiled, const TiledRows& layout, const WeightMatrix& w,
                    const ColumnRange& columns, const std::function<void(const TileSums&)>& finish,
                    bool whole_rows = false);

/// The same for columns [0, columns) that lie in panels as WeightMatrix says. All of a row's
/// columns at once.
void multiply_packed(const std::uint8_t* tiled, const TiledRows& layout, const std::uint8_t* packed,
                     std::size_t columns, const std::function<void(const TileSums&)>& finish);

}  // namespace blip
