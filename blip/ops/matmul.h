#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "blip/ops/elementwise.h"
#include "blip/ops/weight_matrix.h"

namespace blip {

/// A row-major f32 matrix whose rows are `stride` apart.
struct ConstMatrix {
  const float* data;
  std::size_t rows;
  std::size_t columns;
  std::size_t stride;
};
struct MutableMatrix {
  float* data;
  std::size_t rows;
  std::size_t columns;
  std::size_t stride;
};

/// c = a b, or a b^T where `b_transposed` (b is then [c.columns, a.columns]). Large products, by
/// oneDNN on all threads; inside a parallel region, on the calling thread alone.
void matmul(const ConstMatrix& a, const ConstMatrix& b, bool b_transposed, const MutableMatrix& c);

/// A product of few rows with a matrix, and where it goes.
struct FewRowsProduct {
  const WeightMatrix* weight;
  Epilogue epilogue;
  float* y;  ///< [rows, weight->out]
};

/// y = epilogue(x W^T) for each of `products`, all of which read x [rows, weight->in]. Reads each
/// weight once, so that it runs at the speed of memory. bf16 weights are widened to f32 on the way,
/// or x is rounded to bf16, too (rounds_few_rows()); for int8 weights each row of x becomes
/// integers of 12 to 16 bits, whose products are exact. The sum's order depends on the length of
/// the rows alone: a row's result is the same bits whatever rows stand beside it and however many
/// threads run. One parallel region, over columns.
void matmul_few_rows(const float* x, std::size_t rows, std::span<const FewRowsProduct> products);
/// One of them without an epilogue: y = x W^T.
void matmul_few_rows(const float* x, const WeightMatrix& w, std::size_t rows, float* y);

/// Whether matmul_few_rows() rounds x to bf16 for weights of bf16: where the CPU multiplies their
/// pairs faster than f32 (AVX512_BF16).
bool rounds_few_rows();

/// Columns [begin, end) of a product.
struct ColumnRange {
  std::size_t begin;
  std::size_t end;
  std::size_t width() const { return end - begin; }
};

/// Largest value that activations are quantised to: 255 where the CPU sums products of bytes in 32
/// bits (AVX512_VNNI, AMX), else 127, so that the 16-bit sums of AVX2 cannot saturate.
int activation_levels();

/// sums[r, n - begin] = q[r, :] . w[n, :] of an int8 matrix, exact. `q` [rows, in] holds 0 to
/// activation_levels(); `sums` [rows, end - begin]. By oneDNN; in a parallel region, on the calling
/// thread alone.
void matmul_int8(const std::uint8_t* q, std::size_t rows, const WeightMatrix& w,
                 const ColumnRange& columns, std::int32_t* sums);

}  // namespace blip
