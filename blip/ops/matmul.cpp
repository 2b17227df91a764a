#include "blip/ops/matmul.h"

#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>

#include "blip/base/error.h"
#include "blip/ops/isa.h"
#include "blip/ops/reference.h"
#include "blip/ops/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip/ops/matmul.cpp"
#include <hwy/foreach_target.h>
// Highway must come after foreach_target.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace blip::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// kRows x kColumns dot products of length `in` at once: enough independent sums to hide the
/// latency of the multiply-add, and each vector loaded serves several of them. Every sum runs over
/// k in the same order whatever the tile, so that a row's result does not depend on its neighbours.
template <std::size_t kRows, std::size_t kColumns>
void dot_tile(const float* x, const float* w, std::size_t in, std::size_t y_stride, float* y) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const std::size_t lanes = hn::Lanes(d);
  V sums[kRows][kColumns];
  for (auto& row : sums) {
    for (V& sum : row) sum = hn::Zero(d);
  }
  std::size_t k = 0;
  for (; k + lanes <= in; k += lanes) {
    V weights[kColumns];
    for (std::size_t c = 0; c < kColumns; ++c) weights[c] = hn::LoadU(d, w + c * in + k);
    for (std::size_t r = 0; r < kRows; ++r) {
      const V v = hn::LoadU(d, x + r * in + k);
      for (std::size_t c = 0; c < kColumns; ++c) sums[r][c] = hn::MulAdd(v, weights[c], sums[r][c]);
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t c = 0; c < kColumns; ++c) {
      float sum = hn::GetLane(hn::SumOfLanes(d, sums[r][c]));
      for (std::size_t i = k; i < in; ++i) sum += x[r * in + i] * w[c * in + i];
      y[r * y_stride + c] = sum;
    }
  }
}

/// Columns [begin, end) for kRows rows.
template <std::size_t kRows, std::size_t kColumns>
void dot_columns(const float* x, const float* w, std::size_t begin, std::size_t end, std::size_t in,
                 std::size_t out, float* y) {
  std::size_t n = begin;
  for (; n + kColumns <= end; n += kColumns) {
    dot_tile<kRows, kColumns>(x, w + n * in, in, out, y + n);
  }
  for (; n < end; ++n) dot_tile<kRows, 1>(x, w + n * in, in, out, y + n);
}

void few_rows_kernel(const float* x, const float* w, std::size_t rows, std::size_t begin,
                     std::size_t end, std::size_t in, std::size_t out, float* y) {
  std::size_t r = 0;
  for (; r + 4 <= rows; r += 4) dot_columns<4, 2>(x + r * in, w, begin, end, in, out, y + r * out);
  const float* rest = x + r * in;
  float* target = y + r * out;
  switch (rows - r) {
    case 3:
      dot_columns<3, 3>(rest, w, begin, end, in, out, target);
      break;
    case 2:
      dot_columns<2, 4>(rest, w, begin, end, in, out, target);
      break;
    case 1:
      dot_columns<1, 8>(rest, w, begin, end, in, out, target);
      break;
    default:
      break;
  }
}

}  // namespace blip::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blip {

HWY_EXPORT(few_rows_kernel);

void matmul(const ConstMatrix& a, const ConstMatrix& b, bool b_transposed, const MutableMatrix& c) {
  if (active_isa() == Isa::reference) {
    for (std::size_t i = 0; i < c.rows; ++i) {
      for (std::size_t j = 0; j < c.columns; ++j) {
        double sum = 0;
        for (std::size_t k = 0; k < a.columns; ++k) {
          const float right = b_transposed ? b.data[j * b.stride + k] : b.data[k * b.stride + j];
          sum += double{a.data[i * a.stride + k]} * double{right};
        }
        c.data[i * c.stride + j] = static_cast<float>(sum);
      }
    }
    return;
  }
  const auto size = [](std::size_t n) { return static_cast<dnnl_dim_t>(n); };
  const dnnl_status_t status = dnnl_sgemm(
      'N', b_transposed ? 'T' : 'N', size(c.rows), size(c.columns), size(a.columns), 1.0f, a.data,
      size(a.stride), b.data, size(b.stride), 0.0f, c.data, size(c.stride));
  if (status != dnnl_success) {
    throw Error(ErrorCode::internal, "oneDNN refused a matrix product (status " +
                                         std::to_string(static_cast<int>(status)) + ")");
  }
}

void matmul_few_rows(const float* x, const float* w, std::size_t rows, std::size_t out,
                     std::size_t in, float* y) {
  if (active_isa() == Isa::reference) return reference::linear(x, w, rows, out, in, y);
  // A chunk of weights that stays in the second-level cache while every row passes over it.
  constexpr std::size_t kChunkFloats = 32768;
  const std::size_t chunk =
      std::clamp<std::size_t>(kChunkFloats / std::max<std::size_t>(in, 1), 8, 64) / 8 * 8;
  const std::size_t chunks = (out + chunk - 1) / chunk;
#pragma omp parallel for schedule(static) if (worth_threads(rows * out * in))
  for (std::size_t i = 0; i < chunks; ++i) {
    const std::size_t begin = i * chunk;
    HWY_DYNAMIC_DISPATCH(few_rows_kernel)
    (x, w, rows, begin, std::min(begin + chunk, out), in, out, y);
  }
}

}  // namespace blip
#endif
