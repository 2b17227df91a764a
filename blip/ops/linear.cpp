#include "blip/ops/linear.h"

#include <omp.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "blip/ops/matmul.h"
#include "blip/ops/quantize.h"
#include "blip/ops/threads.h"
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

/// Calls work(columns) for a share of [0, out) on each thread, so that each finishes its own
/// columns while they are near. Few columns are not shared out.
template <class Work>
void for_column_shares(std::size_t out, const Work& work) {
  constexpr std::size_t kLeastColumns = 256, kRounding = 16;
  const auto threads = static_cast<std::size_t>(omp_get_max_threads());
  const std::size_t parts = std::clamp<std::size_t>(out / kLeastColumns, 1, threads);
  const std::size_t width = ((out + parts - 1) / parts + kRounding - 1) / kRounding * kRounding;
  std::exception_ptr error;  // may not leave a parallel region
#pragma omp parallel for schedule(static, 1) if (parts > 1)
  for (std::size_t part = 0; part < parts; ++part) {
    const std::size_t begin = std::min(part * width, out), end = std::min(begin + width, out);
    if (begin == end) continue;
    try {
      work(ColumnRange{begin, end});
    } catch (...) {
#pragma omp critical
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
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
  std::vector<FewRowsProduct> products;
  for (const auto& [linear, y] : outputs) {
    products.push_back({&linear->weight_, {linear->bias_.data()}, y});
  }
  matmul_few_rows(x, rows, products);
}

void Linear::forward_many(const float* x, std::size_t rows, float* y,
                          Epilogue::Activation activation, const float* residual) const {
  const Epilogue epilogue{bias_.data(), activation, residual};
  const OutputBlock all{y, rows, weight_.out, 0, weight_.out};
  if (fits_tiles(weight_)) return many_tiles(x, epilogue, all);
  switch (weight_.precision) {
    case Precision::f32:
      return many_f32(x, epilogue, all);
    case Precision::bf16:
      return many_bf16(x, epilogue, all);
    case Precision::int8:
      return many_int8(x, epilogue, all);
  }
}

void Linear::many_f32(const float* x, const Epilogue& epilogue, const OutputBlock& all) const {
  const std::size_t in = weight_.in;
  const auto product = [&](const ColumnRange& c) {
    matmul({x, all.rows, in, in}, {weight_.f32() + c.begin * in, c.width(), in, in}, true,
           {all.y + c.begin, all.rows, c.width(), all.stride});
    apply_epilogue(epilogue, {all.y, all.rows, all.stride, c.begin, c.end});
  };
  for_column_shares(weight_.out, product);
}

void Linear::many_bf16(const float* x, const Epilogue& epilogue, const OutputBlock& all) const {
  const std::size_t in = weight_.in, size = all.rows * in;
  if (multiplies_bf16()) {
    thread_local std::vector<std::uint16_t> kept;
    std::uint16_t* rounded = reuse(kept, size);
#pragma omp parallel for schedule(static) if (worth_threads(size))
    for (std::size_t r = 0; r < all.rows; ++r) round_to_bf16(x + r * in, in, rounded + r * in);
    // Dense results let oneDNN take its faster kernel, and are near when they are finished.
    return for_column_shares(weight_.out, [&](const ColumnRange& share) {
      constexpr std::size_t kColumns = 512;
      thread_local std::vector<float> kept_sums;
      float* sums = reuse(kept_sums, all.rows * std::min(kColumns, share.width()));
      for (std::size_t begin = share.begin; begin < share.end; begin += kColumns) {
        const ColumnRange c{begin, std::min(begin + kColumns, share.end)};
        matmul_bf16({rounded, all.rows, in, in}, {weight_.bf16() + c.begin * in, c.width(), in, in},
                    true, {sums, all.rows, c.width(), c.width()});
        apply_epilogue(epilogue, sums, {all.y, all.rows, all.stride, c.begin, c.end});
      }
    });
  }
  // Weights widened a few columns at a time, so that they are still in the cache when multiplied.
  for_column_shares(weight_.out, [&](const ColumnRange& share) {
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
  for_column_shares(weight_.out, [&](const ColumnRange& share) {
    constexpr std::size_t kColumns = 512;
    thread_local std::vector<std::int32_t> kept_sums;
    std::int32_t* sums = reuse(kept_sums, all.rows * std::min(kColumns, share.width()));
    for (std::size_t begin = share.begin; begin < share.end; begin += kColumns) {
      const ColumnRange c{begin, std::min(begin + kColumns, share.end)};
      matmul_int8(q, all.rows, weight_, c, sums);
      apply_epilogue(epilogue, {sums, scales, weight_.scales.data(), weight_.sums->data()},
                     {all.y, all.rows, all.stride, c.begin, c.end});
    }
  });
}

void Linear::many_tiles(const float* x, const Epilogue& epilogue, const OutputBlock& all) const {
  thread_local std::vector<std::uint8_t> kept;
  thread_local std::vector<RowScale> kept_scales;
  const bool integers = weight_.precision == Precision::int8;
  const std::size_t in = weight_.in, row_bytes = integers ? in : 2 * in;
  std::uint8_t* tiled = reuse(kept, tiled_bytes(all.rows, row_bytes));
  RowScale* scales = reuse(kept_scales, all.rows);
  constexpr std::size_t kRowBlock = 16;  // asks for the CPU's levels once for so many
#pragma omp parallel for schedule(static) if (worth_threads(4 * all.rows * in))
  for (std::size_t first = 0; first < all.rows; first += kRowBlock) {
    thread_local std::vector<std::uint8_t> kept_block;
    const std::size_t count = std::min(kRowBlock, all.rows - first);
    std::uint8_t* block = reuse(kept_block, kRowBlock * row_bytes);
    if (integers) {
      quantize_rows(x + first * in, count, in, weight_.smoothing.data(), block, scales + first);
    } else {
      round_to_bf16(x + first * in, count * in, reinterpret_cast<std::uint16_t*>(block));
    }
    for (std::size_t r = 0; r < count; ++r) {
      put_tiled_row(block + r * row_bytes, row_bytes, first + r, tiled);
    }
  }
  for_column_shares(weight_.out, [&](const ColumnRange& share) {
    multiply_tiles(tiled, all.rows, weight_, share, [&](const TileSums& t) {
      const std::size_t offset = t.first * all.stride;
      Epilogue part = epilogue;
      if (part.residual != nullptr) part.residual += offset;
      const OutputBlock block{all.y + offset, t.rows, all.stride, t.columns.begin, t.columns.end};
      if (integers) {
        apply_epilogue(part,
                       {static_cast<const std::int32_t*>(t.sums), scales + t.first,
                        weight_.scales.data(), weight_.sums->data()},
                       block);
      } else {
        apply_epilogue(part, static_cast<const float*>(t.sums), block);
      }
    });
  });
}

}  // namespace blip
