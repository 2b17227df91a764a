#pragma once

// What tiles.cpp needs of an instruction set.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "blip/base/precision.h"

namespace blip {

/// Bytes of a row that lie together, and the columns of a tile of sums: half of a panel's.
inline constexpr std::size_t kPiece = 64, kLanes = 16;
/// 16 columns' pieces, packed.
inline constexpr std::size_t kPackedBytes = kLanes * kPiece;

/// Memory that is needed soon, fetched to the second-level cache `step` bytes at a time.
struct Stream {
  const std::uint8_t* at = nullptr;
  const std::uint8_t* end = nullptr;
  std::size_t step = 0;

  void fetch() {
    const std::size_t bytes = std::min<std::size_t>(step, end - at);
    for (std::size_t i = 0; i < bytes; i += kPiece) __builtin_prefetch(at + i, 0, 2);
    at += bytes;
  }
};

/// What a kernel fetches while it multiplies, some with every piece: what is fetched in bursts
/// waits for free buffers, and multiplying waits with it.
struct Ahead {
  Stream rows, columns;

  void fetch() {
    rows.fetch();
    columns.fetch();
  }
};

/// A block of rows times a panel of packed columns, `pieces` of each; `stride` bytes from one row
/// of sums to the next. With `add` to the sums that are there.
using MultiplyBlock = void (*)(const std::uint8_t* rows, const std::uint8_t* packed,
                               std::size_t pieces, void* sums, std::size_t stride, bool add,
                               Ahead& ahead);

/// to[i][n] = from[n][i] of 16 rows of 16 words of 32 bits, `from_stride` bytes apart.
using TransposeWords = void (*)(const std::uint8_t* from, std::size_t from_stride,
                                std::uint8_t* to);

struct TileKernels {
  std::size_t least_rows, most_rows;  ///< that a tile can have
  std::size_t tiles = 1;              ///< of a block, one after the other
  /// Bytes of packed columns that leave room in the second-level cache for the rows and for what is
  /// fetched ahead, for long rows and for short ones.
  std::size_t long_rows_budget, budget;
  /// Bytes of rows that are multiplied at once. SIZE_MAX: all; so it must be where a block has
  /// several tiles, whose `multiply` does not heed `add`.
  std::size_t depth = SIZE_MAX;
  TransposeWords transpose;
  MultiplyBlock (*multiply)(std::size_t tile_rows);
  void (*begin)() = nullptr;  ///< before the first block, on the same thread; null: nothing
  void (*end)() = nullptr;
};

/// Null where the CPU, or its system, does not multiply the precision so.
const TileKernels* avx2_kernels(Precision precision);
const TileKernels* avx512_kernels(Precision precision);
const TileKernels* amx_kernels(Precision precision);

/// 32 values of f32 each to a piece of bf16, nearest even; pieces are `step` bytes apart. In
/// AVX512_BF16.
void round_pieces(const float* values, std::size_t pieces, std::uint8_t* to, std::size_t step);

/// `pieces` of a panel of bf16 (WeightMatrix) -> twice as many of f32. In AVX2.
void widen_panel(const std::uint8_t* from, std::size_t pieces, std::uint8_t* to);

/// The same as TransposeWords, of 16 rows of 16 bf16 values that become f32. In AVX2.
void transpose_widened(const std::uint8_t* from, std::size_t from_stride, std::uint8_t* to);

}  // namespace blip
