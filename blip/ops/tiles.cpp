#include "blip/ops/tiles.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "blip/ops/isa.h"
#include "blip/ops/tile_kernels.h"

namespace blip {
namespace {

/// Of rows that are multiplied so; null where the CPU does not, or is not allowed to.
const TileKernels* kernels_for(Precision rows) {
  switch (active_isa()) {
    case Isa::amx:
      if (const TileKernels* kernels = amx_kernels(rows)) return kernels;
      [[fallthrough]];
    case Isa::avx512:
      return avx512_kernels(rows);
    case Isa::avx2:
      return avx2_kernels(rows);
    default:
      return nullptr;
  }
}

/// What rows are in that are multiplied with `weights`: f32 with bf16 ones that have to be widened.
Precision rows_for(Precision weights) {
  return tiles_multiply(weights) || weights != Precision::bf16 ? weights : Precision::f32;
}

/// Some of a row's bytes: whole pieces.
struct Depth {
  std::size_t begin;
  std::size_t end;

  std::size_t bytes() const { return end - begin; }
};

/// A panel of columns of `w` as right sides for rows of `rows`, `depth` of them: [pieces, 2, 16,
/// 64], each 64 bytes hold four bytes of each of 16 columns. Columns from columns.end on repeat the
/// last one.
void pack_columns(const WeightMatrix& w, Precision rows, const ColumnRange& columns,
                  const Depth& depth, std::uint8_t* to) {
  const bool widen = rows != w.precision;
  const TransposeWords transpose = widen ? transpose_widened : kernels_for(rows)->transpose;
  const std::size_t shrink = widen ? 2 : 1;  // bytes of a packed piece to those of its weights
  const std::size_t row_bytes = w.in * size_of(w.precision);
  const std::size_t offset = depth.begin / shrink, bytes = depth.bytes() / shrink;
  if (w.panels) {  // and other rows
    const auto* panel = static_cast<const std::uint8_t*>(w.data) + columns.begin * row_bytes;
    return widen_panel(panel + kPanel * offset, bytes / kPiece, to);
  }
  const auto* data = static_cast<const std::uint8_t*>(w.data) + offset;
  std::vector<std::uint8_t> tail;
  for (std::size_t half = 0; half < 2; ++half) {
    const std::size_t first = columns.begin + half * kLanes;
    const std::uint8_t* from = data + first * row_bytes;
    std::size_t stride = row_bytes;
    if (first + kLanes > columns.end) {
      tail.resize(kLanes * bytes + 512);
      stride = bytes;
      for (std::size_t n = 0; n < kLanes; ++n) {
        const std::size_t column = std::min(first + n, columns.end - 1);
        std::memcpy(tail.data() + n * bytes, data + column * row_bytes, bytes);
      }
      from = tail.data();
    }
    std::uint8_t* piece = to + half * kPackedBytes;
    for (std::size_t at = 0; at < bytes; at += kPiece / shrink, piece += 2 * kPackedBytes) {
      transpose(from + at, stride, piece);
    }
  }
}

/// What a kernel needs of the processor while it lives.
class KernelScope {
 public:
  explicit KernelScope(const TileKernels& kernels) : kernels_(kernels) {
    if (kernels_.begin != nullptr) kernels_.begin();
  }
  ~KernelScope() {
    if (kernels_.end != nullptr) kernels_.end();
  }
  KernelScope(const KernelScope&) = delete;
  KernelScope& operator=(const KernelScope&) = delete;

 private:
  const TileKernels& kernels_;
};

/// To be fetched while `pieces` are multiplied.
Stream stream(const std::uint8_t* begin, std::size_t bytes, std::size_t pieces) {
  return {begin, begin + bytes, parts_of(bytes, pieces * kPiece) * kPiece};
}

/// All rows times packed columns, block by block; `next_columns` are the next call's.
void multiply_group(const std::uint8_t* tiled, const TiledRows& layout, const std::uint8_t* packed,
                    const ColumnRange& columns, std::span<const std::uint8_t> next_columns,
                    const std::function<void(const TileSums&)>& finish) {
  const std::size_t row_bytes = layout.row_bytes, rows = layout.rows, block = layout.block_rows;
  const std::size_t width = parts_of(columns.width(), kPanel) * kPanel;
  const MultiplyBlock multiply = kernels_for(layout.precision)->multiply(layout.tile_rows);
  const std::size_t pieces = row_bytes / kPiece, of_block = width / kPanel * pieces;
  Ahead ahead;
  ahead.columns =
      stream(next_columns.data(), next_columns.size(), parts_of(rows, block) * of_block);
  thread_local FloatBuffer kept;
  std::uint8_t* sums = reuse(kept, block * width * 4);
  for (std::size_t first = 0; first < rows; first += block) {
    const std::size_t next = first + block < rows ? first + block : 0;  // the next call's first
    const bool needed = next > 0 || !next_columns.empty();
    ahead.rows = needed ? stream(tiled + next * row_bytes, block * row_bytes, of_block) : Stream{};
    for (std::size_t at = 0; at < width; at += kPanel) {
      multiply(tiled + first * row_bytes, packed + at * row_bytes, pieces, sums + at * 4, width * 4,
               false, ahead);
    }
    finish({first, std::min(block, rows - first), columns, sums, width});
  }
}

/// The same for `depth` of rows that are cut, panel by panel, of as many rows as stay in the
/// second-level cache. Panels are `panel_bytes` apart. `sums` [blocks of rows, width] are from
/// before.
void add_group(const std::uint8_t* tiled, const TiledRows& layout, const std::uint8_t* packed,
               std::size_t panel_bytes, std::size_t width, const Depth& depth, std::uint8_t* sums) {
  const std::size_t block = layout.block_rows, pieces = depth.bytes() / kPiece;
  const MultiplyBlock multiply = kernels_for(layout.precision)->multiply(layout.tile_rows);
  const std::size_t many =
      std::max<std::size_t>(1, (std::size_t{256} << 10) / depth.bytes() / block) * block;
  const std::uint8_t* parts = tiled + depth.begin * layout.tile_rows;
  // Whole panels were not packed just now, but come from memory.
  const std::size_t part_bytes = kPanel * depth.bytes();
  const bool from_memory = panel_bytes > part_bytes;
  for (std::size_t begin = 0; begin < layout.rows; begin += many) {
    const std::size_t end = std::min(begin + many, layout.rows);
    for (std::size_t at = 0; at < width; at += kPanel) {
      const std::uint8_t* panel = packed + at / kPanel * panel_bytes;
      const bool last = at + kPanel >= width;
      Ahead ahead;
      const std::size_t of_panel = parts_of(end - begin, block) * pieces;
      if (from_memory && last) {  // the next part of the first panel
        ahead.columns =
            stream(packed + part_bytes,
                   std::min(part_bytes, kPanel * (layout.row_bytes - depth.end)), of_panel);
      } else if (from_memory && begin == 0) {
        ahead.columns = stream(panel + panel_bytes, part_bytes, of_panel);
      }
      for (std::size_t first = begin; first < end; first += block) {
        // The first panel passes over rows that are new; so do those after the last.
        const std::size_t next = first + block;
        const bool are_new = next < end ? at == 0 : last && end < layout.rows;
        ahead.rows = are_new
                         ? stream(parts + next * layout.row_bytes, block * depth.bytes(), pieces)
                         : Stream{};
        multiply(parts + first * layout.row_bytes, panel, pieces, sums + (first * width + at) * 4,
                 width * 4, depth.begin > 0, ahead);
      }
    }
  }
}

}  // namespace

std::uint8_t* reuse(FloatBuffer& kept, std::size_t bytes) {
  const std::size_t floats = parts_of(bytes, sizeof(float));
  if (kept.size() < floats) kept = FloatBuffer(floats);
  return reinterpret_cast<std::uint8_t*>(kept.data());
}

bool tiles_multiply(Precision precision) {
  return kernels_for(precision) != nullptr;
}

bool in_amx(Precision precision) {
  return active_isa() == Isa::amx && amx_kernels(precision) != nullptr;
}

bool fits_tiles(const WeightMatrix& w) {
  const Precision rows = rows_for(w.precision);
  return tiles_multiply(rows) && w.in * size_of(rows) % kPiece == 0;
}

PiecedRows TiledRows::pieces(std::size_t r, std::uint8_t* tiled) const {
  return {tiled + r / tile_rows * tile_rows * row_bytes + r % tile_rows * kPiece, kPiece,
          tile_rows * kPiece};
}

void TiledRows::round(const float* values, std::size_t stride, std::size_t r, std::size_t count,
                      const ColumnRange& columns, std::uint8_t* tiled) const {
  const std::size_t pieces_of = columns.width() * size_of(precision) / kPiece;
  const std::size_t skipped = columns.begin * size_of(precision) / kPiece;
  for (std::size_t i = 0; i < count; ++i) {
    const PiecedRows row = pieces(r + i, tiled);
    std::uint8_t* to = row.first + skipped * row.piece_step;
    const float* from = values + i * stride;
    if (precision == Precision::bf16) {
      round_pieces(from, pieces_of, to, row.piece_step);
      continue;
    }
    for (std::size_t piece = 0; piece < pieces_of; ++piece) {
      std::memcpy(to + piece * row.piece_step, from + piece * kLanes, kPiece);
    }
  }
}

TiledRows tiled_rows(const WeightMatrix& w, std::size_t rows) {
  const Precision precision = rows_for(w.precision);
  const TileKernels& kernels = *kernels_for(precision);
  // Of the sizes that a tile can have, that which leaves least of the last block empty.
  const auto multiplied = [&](std::size_t tile) {
    const std::size_t block = tile * kernels.tiles;
    return parts_of(rows, block) * block;
  };
  std::size_t best = kernels.most_rows;
  for (std::size_t tile = kernels.most_rows; tile >= kernels.least_rows; --tile) {
    if (multiplied(tile) < multiplied(best)) best = tile;
  }
  return {precision, rows, w.in * size_of(precision), best, best * kernels.tiles};
}

void multiply_tiles(const std::uint8_t* tiled, const TiledRows& layout, const WeightMatrix& w,
                    const ColumnRange& columns, const std::function<void(const TileSums&)>& finish,
                    bool whole_rows) {
  const TileKernels& kernels = *kernels_for(layout.precision);
  const std::size_t row_bytes = layout.row_bytes, depth = std::min(kernels.depth, row_bytes);
  const std::size_t budget = row_bytes >= 4096 ? kernels.long_rows_budget : kernels.budget;
  const std::size_t group =
      kPanel * (whole_rows ? parts_of(columns.width(), kPanel)
                           : std::clamp<std::size_t>(budget / depth / kPanel, 1, 16));
  thread_local FloatBuffer kept, kept_sums;
  // Panels are multiplied where they lie, unless they are to be widened.
  const bool ready = w.panels && layout.precision == w.precision;
  std::uint8_t* packed = ready ? nullptr : reuse(kept, group * depth);
  const KernelScope scope(kernels);
  const std::size_t weight_bytes = w.in * size_of(w.precision);
  const auto* weights = static_cast<const std::uint8_t*>(w.data);
  for (std::size_t begin = columns.begin; begin < columns.end; begin += group) {
    const ColumnRange c{begin, std::min(begin + group, columns.end)};
    const std::size_t width = parts_of(c.width(), kPanel) * kPanel;
    // That part of the group's columns: where it begins.
    const auto pack = [&](const Depth& part) -> const std::uint8_t* {
      if (ready) return weights + begin * row_bytes + kPanel * part.begin;
      for (std::size_t at = 0; at < c.width(); at += kPanel) {
        pack_columns(w, layout.precision, {begin + at, c.end}, part, packed + at * part.bytes());
      }
      return packed;
    };
    if (depth == row_bytes) {
      const std::span next{weights + c.end * weight_bytes,
                           std::min(group, columns.end - c.end) * weight_bytes};
      multiply_group(tiled, layout, pack({0, row_bytes}), c, next, finish);
      continue;
    }
    const std::size_t block = layout.block_rows, rows = layout.rows;
    std::uint8_t* sums = reuse(kept_sums, parts_of(rows, block) * block * width * 4);
    for (std::size_t from = 0; from < row_bytes; from += depth) {
      const Depth part{from, std::min(from + depth, row_bytes)};
      add_group(tiled, layout, pack(part), kPanel * (ready ? row_bytes : part.bytes()), width, part,
                sums);
    }
    for (std::size_t first = 0; first < rows; first += block) {
      finish({first, std::min(block, rows - first), c, sums + first * width * 4, width});
    }
  }
}

void multiply_packed(const std::uint8_t* tiled, const TiledRows& layout, const std::uint8_t* packed,
                     std::size_t columns, const std::function<void(const TileSums&)>& finish) {
  const KernelScope scope(*kernels_for(layout.precision));
  multiply_group(tiled, layout, packed, {0, columns}, {}, finish);
}

}  // namespace blip
