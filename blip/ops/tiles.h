#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "blip/ops/matmul.h"
#include "blip/ops/weight_matrix.h"

namespace blip {

/// Products in AMX's tiles for the hundreds of rows of a picture, straight from the checkpoint's
/// layout. Those of oneDNN 2.6 reach a third of what tiles can do.

/// Whether `w` can be multiplied so: the CPU has AMX, the system lends it, active_isa() allows it,
/// `w` is bf16 or int8 and its rows are whole tile rows of 64 bytes.
bool fits_tiles(const WeightMatrix& w);

/// Bytes of `rows` rows of `row_bytes` laid out for tiles, [rows / 16 rounded up to 2, row_bytes /
/// 64, 16, 64].
std::size_t tiled_bytes(std::size_t rows, std::size_t row_bytes);

/// Puts row `r` (its `row_bytes` at `row`) where `tiled` wants it.
void put_tiled_row(const void* row, std::size_t row_bytes, std::size_t r, std::uint8_t* tiled);

/// A block of a product: y[first + r, columns.begin + n] for r below `rows`; std::int32_t where the
/// weights are int8, else float.
struct TileSums {
  std::size_t first;
  std::size_t rows;
  ColumnRange columns;
  const void* sums;  ///< [rows, columns.width()]
};

/// y[r, n] = x[r, :] . w[n, :] for the given columns, block by block: each is given to `finish`
/// while it is in the cache. `tiled` holds x as put_tiled_row() laid it out: bf16 for bf16 weights,
/// std::uint8_t for int8. Serial. Only where fits_tiles(w).
void multiply_tiles(const std::uint8_t* tiled, std::size_t rows, const WeightMatrix& w,
                    const ColumnRange& columns, const std::function<void(const TileSums&)>& finish);

}  // namespace blip
