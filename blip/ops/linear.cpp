#include "blip/ops/linear.h"

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <utility>

#include "blip/base/threads.h"
#include "blip/ops/matmul.h"
#include "blip/ops/quantize.h"
#include "blip/ops/tiles.h"

namespace blip {
namespace {

/// Memory that a thread keeps from call to call: a picture's layers ask for the same sizes over and
/// over.
template <class T>
T* reuse(std::vector<T>& kept, std::size_t size) {
  if (kept.size() < size) kept.resize(size);
  return kept.data();
}

/// Threads that a product of so many multiply-adds is worth: a small one would only make them wait.
std::size_t threads_for(std::size_t multiply_adds) {
  constexpr std::size_t kLeast = std::size_t{1} << 21;
  return std::clamp<std::size_t>(multiply_adds / kLeast, 1,
                                 static_cast<std::size_t>(omp_get_max_threads()));
}

/// The `i`th of `parts` shares of `size` things.
ColumnRange share_of(std::size_t size, std::size_t i, std::size_t parts) {
  return {size * i / parts, size * (i + 1) / parts};
}

/// Calls work(columns) for a share of a product's columns on each thread, so that each finishes its
/// own while they are near.
template <class Work>
void for_column_shares(std::size_t rows, const WeightMatrix& w, const Work& work) {
  const std::size_t panels = parts_of(w.out, kPanel);
  const std::size_t parts = std::min(panels, threads_for(rows * w.out * w.in));
  RegionError error;
#pragma omp parallel for schedule(static, 1) if (parts > 1)
  for (std::size_t part = 0; part < parts; ++part) {
    const ColumnRange share = share_of(panels, part, parts);
    error.guard([&] {
      work(ColumnRange{share.begin * kPanel, std::min(share.end * kPanel, w.out)});
    });
  }
  error.rethrow();
}

/// Left sides of a product in tiles.
struct TiledInput {
  TiledRows layout;
  const std::uint8_t* data;
  const RowScale* scales;  ///< of int8
};

/// `x` [rows, w.in], f32 or bf16, normalised if `norm` is there, rounded or quantised for `w`.
/// Until the thread's next call.
template <class T>
TiledInput lay_out(const T* x, std::size_t rows, const LayerNormParameters* norm,
                   const WeightMatrix& w) {
  thread_local FloatBuffer kept;
  thread_local std::vector<RowScale> kept_scales;
  const TiledRows layout = tiled_rows(w, rows);
  std::uint8_t* tiled = reuse(kept, layout.bytes());
  const bool integers = w.precision == Precision::int8;
  RowScale* scales = integers ? reuse(kept_scales, rows) : nullptr;
  const std::size_t tile = layout.tile_rows;
  const auto lay_out_tile = [&](std::size_t r) {
    const std::size_t count = std::min(tile, rows - r);
    thread_local std::vector<float> kept_rows;
    const float* from = nullptr;
    if constexpr (std::is_same_v<T, std::uint16_t>) {
      float* wide = reuse(kept_rows, tile * w.in);
      widen_bf16(x + r * w.in, count * w.in, wide);
      from = wide;
    } else {
      from = x + r * w.in;
    }
    if (norm != nullptr) {
      float* normal = reuse(kept_rows, tile * w.in);
      layer_norm(*norm, from, count, normal);
      from = normal;
    }
    if (integers) {
      quantize_rows(from, count, w.in, w.smoothing.data(), layout.pieces(r, tiled), scales + r);
    } else {
      layout.round(from, w.in, r, count, {0, w.in}, tiled);
    }
  };
  RegionError error;
#pragma omp parallel for schedule(static) if (worth_threads(4 * rows * w.in))
  for (std::size_t r = 0; r < rows; r += tile) error.guard([&] { lay_out_tile(r); });
  error.rethrow();
  return {layout, tiled, scales};
}

/// A product's parts, one for a thread: shares of its columns by shares of its rows.
struct Grid {
  std::size_t columns;
  std::size_t rows;
};

/// The grid whose largest part is done soonest: many threads have few columns each.
Grid grid_for(const TiledRows& layout, const WeightMatrix& w) {
  // Each part packs its own columns, which takes as long as multiplying so many rows.
  constexpr std::size_t kPacking = 64;
  const std::size_t threads = threads_for(layout.rows * w.out * w.in);
  const std::size_t panels = parts_of(w.out, kPanel);
  const std::size_t blocks = parts_of(layout.rows, layout.block_rows);
  Grid best{1, 1};
  std::size_t least = SIZE_MAX;
  for (std::size_t rows = 1; rows <= std::min(threads, blocks); ++rows) {
    const std::size_t columns = std::min(threads / rows, panels);
    const std::size_t time =
        parts_of(panels, columns) * (parts_of(blocks, rows) * layout.block_rows + kPacking);
    if (time < least) {
      least = time;
      best = {columns, rows};
    }
  }
  return best;
}

/// All of a product in tiles, on all threads.
void multiply_all(const TiledInput& x, const WeightMatrix& w,
                  const std::function<void(const TileSums&)>& finish) {
  const TiledRows& all = x.layout;
  const std::size_t panels = parts_of(w.out, kPanel), blocks = parts_of(all.rows, all.block_rows);
  const Grid grid = grid_for(all, w);
  const auto multiply = [&](std::size_t column_share, std::size_t row_share) {
    const ColumnRange columns = share_of(panels, column_share, grid.columns);
    const ColumnRange of_blocks = share_of(blocks, row_share, grid.rows);
    const std::size_t first = of_blocks.begin * all.block_rows;
    TiledRows own = all;
    own.rows = std::min(of_blocks.end * all.block_rows, all.rows) - first;
    multiply_tiles(x.data + first * all.row_bytes, own, w,
                   {columns.begin * kPanel, std::min(columns.end * kPanel, w.out)},
                   [&](TileSums sums) {
                     sums.first += first;
                     finish(sums);
                   });
  };
  const std::size_t parts = grid.columns * grid.rows;
  RegionError error;
#pragma omp parallel for schedule(static, 1) if (parts > 1)
  for (std::size_t part = 0; part < parts; ++part) {
    error.guard([&] { multiply(part % grid.columns, part / grid.columns); });
  }
  error.rethrow();
}

/// What follows a block of a product. `y` is where the block's first value goes; it may be the
/// sums' own place. `epilogue` is of the whole product, its residual of rows `stride` long.
void finish(const TileSums& t, const TiledInput& x, const WeightMatrix& w, Epilogue epilogue,
            float* y, std::size_t stride) {
  const std::size_t begin = t.columns.begin;
  const OutputBlock block{y, t.rows, stride, 0, t.columns.width()};
  if (epilogue.bias != nullptr) epilogue.bias += begin;
  if (epilogue.residual != nullptr) epilogue.residual += t.first * stride + begin;
  if (w.precision == Precision::int8) {
    apply_epilogue(epilogue,
                   {static_cast<const std::int32_t*>(t.sums), t.stride, x.scales + t.first,
                    w.scales.data() + begin, w.sums->data() + begin},
                   block);
  } else {
    apply_epilogue(epilogue, static_cast<const float*>(t.sums), t.stride, block);
  }
}

/// The same in the sums' place, which it returns.
const float* finish_in_place(const TileSums& t, const TiledInput& x, const WeightMatrix& w,
                             const Epilogue& epilogue) {
  auto* values = static_cast<float*>(t.sums);
  finish(t, x, w, epilogue, values, t.stride);
  return values;
}

/// The whole product and what follows it.
void multiply_all(const TiledInput& x, const WeightMatrix& w, const Epilogue& epilogue, float* y) {
  multiply_all(x, w, [&](const TileSums& t) {
    finish(t, x, w, epilogue, y + t.first * w.out + t.columns.begin, w.out);
  });
}

/// Whether what was laid out for one serves the other too.
bool reads_the_same(const WeightMatrix& a, const WeightMatrix& b) {
  return a.precision == b.precision && a.in == b.in && a.smoothing.empty() && b.smoothing.empty();
}

/// Rows of a block for each thread.
template <class Take>
void give_in_parts(const LinearBlock& all, const Take& take) {
  constexpr std::size_t kRows = 32;
  RegionError error;
#pragma omp parallel for schedule(static) if (worth_threads(4 * all.rows * all.columns.width()))
  for (std::size_t r = 0; r < all.rows; r += kRows) {
    error.guard([&] {
      take(LinearBlock{all.first + r, std::min(kRows, all.rows - r), all.columns,
                       all.values + r * all.stride, all.stride});
    });
  }
  error.rethrow();
}

}  // namespace

Linear::Linear(WeightMatrix weight, Weight bias)
    : weight_(std::move(weight)), bias_(std::move(bias)) {}

void Linear::forward(const float* x, std::size_t rows, float* y, Epilogue::Activation activation,
                     const float* residual) const {
  const FewRowsProduct product{&weight_, {bias_.data(), activation, residual}, y};
  matmul_few_rows(x, rows, {&product, 1});
}

void Linear::forward_each(const float* x, std::size_t rows, std::span<const LinearOutput> outputs) {
  thread_local std::vector<FewRowsProduct> products;
  products.clear();
  for (const auto& [linear, y] : outputs) {
    products.push_back({&linear->weight_, {linear->bias_.data()}, y});
  }
  matmul_few_rows(x, rows, products);
}

Epilogue Linear::many_epilogue(Epilogue::Activation activation, const float* residual) const {
  return {bias_.data(), activation, residual, weight_.precision != Precision::f32};
}

void Linear::forward_many(const float* x, std::size_t rows, float* y,
                          Epilogue::Activation activation, const float* residual,
                          const LayerNormParameters* norm) const {
  const Epilogue epilogue = many_epilogue(activation, residual);
  if (fits_tiles(weight_)) {
    return multiply_all(lay_out(x, rows, norm, weight_), weight_, epilogue, y);
  }
  if (weight_.panels) {
    // Made for another CPU, or this one is held to less than it can do.
    return Linear(row_major(weight_), bias_).forward_many(x, rows, y, activation, residual, norm);
  }
  const OutputBlock all{y, rows, weight_.out, 0, weight_.out};
  if (norm != nullptr) {
    thread_local FloatBuffer kept;
    auto* normal = reinterpret_cast<float*>(reuse(kept, rows * weight_.in * sizeof(float)));
    layer_norm(*norm, x, rows, normal);
    x = normal;
  }
  switch (weight_.precision) {
    case Precision::f32:
      return many_f32(x, epilogue, all);
    case Precision::bf16:
      return many_bf16(x, epilogue, all);
    case Precision::int8:
      return many_int8(x, epilogue, all);
  }
}

void Linear::forward_many_bf16(const float* x, std::size_t rows, std::uint16_t* y,
                               Epilogue::Activation activation,
                               const LayerNormParameters* norm) const {
  const std::size_t out = weight_.out;
  if (!fits_tiles(weight_)) {
    FloatBuffer wide(rows * out);
    forward_many(x, rows, wide.data(), activation, nullptr, norm);
    return round_in_registers(wide.data(), rows * out, y);
  }
  const TiledInput input = lay_out(x, rows, norm, weight_);
  const Epilogue epilogue = many_epilogue(activation, nullptr);
  multiply_all(input, weight_, [&](const TileSums& t) {
    const float* values = finish_in_place(t, input, weight_, epilogue);
    for (std::size_t r = 0; r < t.rows; ++r) {
      round_in_registers(values + r * t.stride, t.columns.width(),
                         y + (t.first + r) * out + t.columns.begin);
    }
  });
}

void Linear::forward_many_each(const float* x, std::size_t rows,
                               std::span<const Linear* const> layers,
                               const std::function<void(std::size_t, const LinearBlock&)>& take) {
  FloatBuffer whole;
  TiledInput input{};
  const WeightMatrix* laid_out_for = nullptr;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const WeightMatrix& w = layers[i]->weight_;
    if (!fits_tiles(w)) {
      laid_out_for = nullptr;  // what it asks for may lie in the same memory
      auto* y = reinterpret_cast<float*>(reuse(whole, rows * w.out * sizeof(float)));
      layers[i]->forward_many(x, rows, y);
      give_in_parts({0, rows, {0, w.out}, y, w.out},
                    [&](const LinearBlock& block) { take(i, block); });
      continue;
    }
    if (laid_out_for == nullptr || !reads_the_same(w, *laid_out_for)) {
      input = lay_out(x, rows, nullptr, w);
      laid_out_for = &w;
    }
    const Epilogue epilogue = layers[i]->many_epilogue(Epilogue::Activation::none, nullptr);
    multiply_all(input, w, [&](const TileSums& t) {
      const float* values = finish_in_place(t, input, w, epilogue);
      take(i, {t.first, t.rows, t.columns, values, t.stride});
    });
  }
}

void Linear::many_f32(const float* x, const Epilogue& epilogue, const OutputBlock& all) const {
  const std::size_t in = weight_.in;
  const auto product = [&](const ColumnRange& c) {
    matmul({x, all.rows, in, in}, {weight_.f32() + c.begin * in, c.width(), in, in}, true,
           {all.y + c.begin, all.rows, c.width(), all.stride});
    apply_epilogue(epilogue, {all.y, all.rows, all.stride, c.begin, c.end});
  };
  for_column_shares(all.rows, weight_, product);
}

void Linear::many_bf16(const float* x, const Epilogue& epilogue, const OutputBlock& all) const {
  const std::size_t in = weight_.in;
  // Weights widened a few columns at a time, so that they are still in the cache when multiplied.
  for_column_shares(all.rows, weight_, [&](const ColumnRange& share) {
    constexpr std::size_t kColumns = 512;
    thread_local std::vector<float> kept;
    float* wide = reuse(kept, kColumns * in);
    for (std::size_t begin = share.begin; begin < share.end; begin += kColumns) {
      const ColumnRange c{begin, std::min(begin + kColumns, share.end)};
      widen_bf16(weight_.bf16() + c.begin * in, c.width() * in, wide);
      matmul({x, all.rows, in, in}, {wide, c.width(), in, in}, true,
             {all.y + c.begin, all.rows, c.width(), all.stride});
      apply_epilogue(epilogue, {all.y, all.rows, all.stride, c.begin, c.end});
    }
  });
}

void Linear::many_int8(const float* x, const Epilogue& epilogue, const OutputBlock& all) const {
  thread_local std::vector<std::uint8_t> kept;
  thread_local std::vector<RowScale> kept_scales;
  std::uint8_t* q = reuse(kept, all.rows * weight_.in);
  RowScale* scales = reuse(kept_scales, all.rows);
  quantize_rows(x, all.rows, weight_.in, weight_.smoothing.data(), q, scales);
  for_column_shares(all.rows, weight_, [&](const ColumnRange& share) {
    constexpr std::size_t kColumns = 512;
    thread_local std::vector<std::int32_t> kept_sums;
    std::int32_t* sums = reuse(kept_sums, all.rows * std::min(kColumns, share.width()));
    for (std::size_t begin = share.begin; begin < share.end; begin += kColumns) {
      const ColumnRange c{begin, std::min(begin + kColumns, share.end)};
      matmul_int8(q, all.rows, weight_, c, sums);
      apply_epilogue(epilogue,
                     {sums, c.width(), scales, weight_.scales.data(), weight_.sums->data()},
                     {all.y, all.rows, all.stride, c.begin, c.end});
    }
  });
}

void Linear::forward_mlp(const Linear& first, const Linear& second, const LayerNormParameters& norm,
                         const float* x, std::size_t rows, float* y, const float* residual,
                         FloatBuffer& scratch) {
  const WeightMatrix& w = first.weight_;
  const Epilogue last = second.many_epilogue(Epilogue::Activation::none, residual);
  const bool in_tiles =
      w.precision == second.weight_.precision && fits_tiles(w) && fits_tiles(second.weight_);
  if (in_tiles && w.precision == Precision::int8 && tiles_multiply(Precision::bf16)) {
    // A row is quantised by its largest value, which is known at its end; until then bf16 is finer
    // than what follows and half as much to write and read.
    auto* hidden = reinterpret_cast<std::uint16_t*>(reuse(scratch, rows * w.out * 2));
    first.forward_many_bf16(x, rows, hidden, Epilogue::Activation::gelu, &norm);
    return multiply_all(lay_out(hidden, rows, nullptr, second.weight_), second.weight_, last, y);
  }
  if (!in_tiles || w.precision == Precision::int8) {
    auto* hidden = reinterpret_cast<float*>(reuse(scratch, rows * w.out * sizeof(float)));
    first.forward_many(x, rows, hidden, Epilogue::Activation::gelu, nullptr, &norm);
    return second.forward_many(hidden, rows, y, Epilogue::Activation::none, residual);
  }
  // What lies between goes straight to where the second product wants it.
  const TiledRows layout = tiled_rows(second.weight_, rows);
  std::uint8_t* hidden = reuse(scratch, layout.bytes());
  const TiledInput input = lay_out(x, rows, &norm, w);
  const Epilogue gelu = first.many_epilogue(Epilogue::Activation::gelu, nullptr);
  multiply_all(input, w, [&](const TileSums& t) {
    const float* values = finish_in_place(t, input, w, gelu);
    // A block of the first product may be two tiles of the second.
    for (std::size_t r = 0; r < t.rows; r += layout.tile_rows) {
      layout.round(values + r * t.stride, t.stride, t.first + r,
                   std::min(layout.tile_rows, t.rows - r), t.columns, hidden);
    }
  });
  multiply_all({layout, hidden, nullptr}, second.weight_, last, y);
}

}  // namespace blip
