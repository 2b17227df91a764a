#pragma once

#include <cstddef>

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

/// y[r, n] = x[r, :] . w[n, :] for few rows: reads each weight once, so that it runs at the speed
/// of memory. The sum's order depends on the length of the rows alone: a row's result is the same
/// bits whatever rows stand beside it and however many threads run. Parallel over columns.
void matmul_few_rows(const float* x, const float* w, std::size_t rows, std::size_t out,
                     std::size_t in, float* y);

}  // namespace blip
