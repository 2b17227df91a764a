#include "blip/ops/matmul.h"

#include <algorithm>
#include <bit>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/ops/isa.h"
#include "blip/ops/reference.h"
#include "blip/ops/threads.h"

#ifndef BLIP_OPS_MATMUL_ONCE
#define BLIP_OPS_MATMUL_ONCE
namespace blip {

/// Columns [begin, end) of a product of `rows` rows.
struct Product {
  std::size_t rows;
  std::size_t in;
  std::size_t out;
  std::size_t begin;
  std::size_t end;
};

}  // namespace blip
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip/ops/matmul.cpp"
#include <hwy/foreach_target.h>
// Highway must come after foreach_target.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace blip::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using FloatVector = hn::Vec<Floats>;

/// A vector of weights, widened.
HWY_INLINE FloatVector load(Floats d, const float* w) {
  return hn::LoadU(d, w);
}
HWY_INLINE FloatVector load(Floats d, const std::uint16_t* w) {
  const hn::RebindToUnsigned<Floats> bits;
  const hn::Rebind<std::uint16_t, Floats> halves;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(bits, hn::LoadU(halves, w))));
}
HWY_INLINE FloatVector load(Floats d, const std::int8_t* w) {
  const hn::RebindToSigned<Floats> ints;
  const hn::Rebind<std::int8_t, Floats> bytes;
  return hn::ConvertTo(d, hn::PromoteTo(ints, hn::LoadU(bytes, w)));
}
HWY_INLINE float widen(float w) {
  return w;
}
HWY_INLINE float widen(std::uint16_t w) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(w) << 16);
}
HWY_INLINE float widen(std::int8_t w) {
  return static_cast<float>(w);
}

/// kRows x kColumns dot products of length `in` at once: enough independent sums to hide the
/// latency of the multiply-add, and each vector loaded serves several of them. Every sum runs over
/// k in the same order whatever the tile, so that a row's result does not depend on its neighbours.
template <std::size_t kRows, std::size_t kColumns, class W>
void dot_tile(const float* x, const W* w, std::size_t in, std::size_t y_stride, float* y) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  FloatVector sums[kRows][kColumns];
  for (auto& row : sums) {
    for (FloatVector& sum : row) sum = hn::Zero(d);
  }
  std::size_t k = 0;
  for (; k + lanes <= in; k += lanes) {
    FloatVector weights[kColumns];
    for (std::size_t c = 0; c < kColumns; ++c) weights[c] = load(d, w + c * in + k);
    for (std::size_t r = 0; r < kRows; ++r) {
      const FloatVector v = hn::LoadU(d, x + r * in + k);
      for (std::size_t c = 0; c < kColumns; ++c) sums[r][c] = hn::MulAdd(v, weights[c], sums[r][c]);
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t c = 0; c < kColumns; ++c) {
      float sum = hn::GetLane(hn::SumOfLanes(d, sums[r][c]));
      for (std::size_t i = k; i < in; ++i) sum += x[r * in + i] * widen(w[c * in + i]);
      y[r * y_stride + c] = sum;
    }
  }
}

/// Columns [begin, end) for kRows rows.
template <std::size_t kRows, std::size_t kColumns, class W>
void dot_columns(const float* x, const W* w, const Product& p, float* y) {
  std::size_t n = p.begin;
  for (; n + kColumns <= p.end; n += kColumns) {
    dot_tile<kRows, kColumns>(x, w + n * p.in, p.in, p.out, y + n);
  }
  for (; n < p.end; ++n) dot_tile<kRows, 1>(x, w + n * p.in, p.in, p.out, y + n);
}

template <class W>
void few_rows(const float* x, const W* w, const Product& p, float* y) {
  std::size_t r = 0;
  for (; r + 4 <= p.rows; r += 4) dot_columns<4, 2>(x + r * p.in, w, p, y + r * p.out);
  const float* rest = x + r * p.in;
  float* target = y + r * p.out;
  switch (p.rows - r) {
    case 3:
      return dot_columns<3, 3>(rest, w, p, target);
    case 2:
      return dot_columns<2, 4>(rest, w, p, target);
    case 1:
      return dot_columns<1, 8>(rest, w, p, target);
    default:
      return;
  }
}

void few_rows_kernel(const float* x, const WeightMatrix& w, const Product& p, float* y) {
  switch (w.precision) {
    case Precision::f32:
      return few_rows(x, w.f32(), p, y);
    case Precision::bf16:
      return few_rows(x, w.bf16(), p, y);
    case Precision::int8:
      few_rows(x, w.int8(), p, y);
      for (std::size_t r = 0; r < p.rows; ++r) {
        for (std::size_t n = p.begin; n < p.end; ++n) y[r * p.out + n] *= w.scales.data()[n];
      }
      return;
  }
}

}  // namespace blip::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blip {

HWY_EXPORT(few_rows_kernel);

namespace {

dnnl_dim_t dim(std::size_t n) {
  return static_cast<dnnl_dim_t>(n);
}

void check(dnnl_status_t status) {
  if (status == dnnl_success) return;
  throw Error(ErrorCode::internal, "oneDNN refused a matrix product (status " +
                                       std::to_string(static_cast<int>(status)) + ")");
}

}  // namespace

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
  check(dnnl_sgemm('N', b_transposed ? 'T' : 'N', dim(c.rows), dim(c.columns), dim(a.columns), 1.0f,
                   a.data, dim(a.stride), b.data, dim(b.stride), 0.0f, c.data, dim(c.stride)));
}

void matmul_few_rows(const float* x, const WeightMatrix& w, std::size_t rows, float* y) {
  std::vector<float> smoothed;
  if (!w.smoothing.empty()) {
    smoothed.resize(rows * w.in);
    for (std::size_t i = 0; i < smoothed.size(); ++i) {
      smoothed[i] = x[i] * w.smoothing.data()[i % w.in];
    }
    x = smoothed.data();
  }
  if (active_isa() == Isa::reference) {
    return reference::linear(x, reference::widened(w).data(), rows, w.out, w.in, y);
  }
  // A chunk of weights that stays in the second-level cache while every row passes over it.
  constexpr std::size_t kChunkFloats = 32768;
  const std::size_t chunk =
      std::clamp<std::size_t>(kChunkFloats / std::max<std::size_t>(w.in, 1), 8, 64) / 8 * 8;
  const std::size_t chunks = (w.out + chunk - 1) / chunk;
#pragma omp parallel for schedule(static) if (worth_threads(rows * w.out * w.in))
  for (std::size_t i = 0; i < chunks; ++i) {
    const std::size_t begin = i * chunk;
    HWY_DYNAMIC_DISPATCH(few_rows_kernel)
    (x, w, {rows, w.in, w.out, begin, std::min(begin + chunk, w.out)}, y);
  }
}

void matmul_int8(const std::uint8_t* q, std::size_t rows, const WeightMatrix& w,
                 const ColumnRange& columns, std::int32_t* sums) {
  const std::int8_t* weights = w.int8() + columns.begin * w.in;
  if (active_isa() == Isa::reference) {
    return reference::matmul_int8(q, weights, rows, columns.width(), w.in, sums);
  }
  const std::int32_t offset = 0;
  check(dnnl_gemm_u8s8s32('N', 'T', 'F', dim(rows), dim(columns.width()), dim(w.in), 1.0f, q,
                          dim(w.in), 0, weights, dim(w.in), 0, 0.0f, sums, dim(columns.width()),
                          &offset));
}

/// The two questions about the CPU are asked of what oneDNN uses, which force_isa() can lower.
int activation_levels() {
  active_isa();
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::sse41:
    case dnnl::cpu_isa::avx:
    case dnnl::cpu_isa::avx2:
    case dnnl::cpu_isa::avx2_vnni:
    case dnnl::cpu_isa::avx512_core:
      return 127;
    default:
      return 255;
  }
}

bool multiplies_bf16() {
  active_isa();
  const dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
  return isa == dnnl::cpu_isa::avx512_core_bf16 || isa == dnnl::cpu_isa::avx512_core_amx;
}

void matmul_bf16(const std::uint16_t* x, std::size_t rows, const WeightMatrix& w,
                 const ColumnRange& columns, float* y) {
  using dnnl::memory;
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  thread_local dnnl::stream stream(cpu);
  const auto bf16 = memory::data_type::bf16;
  const dnnl_dim_t m = dim(rows), k = dim(w.in), n = dim(columns.width());
  const memory::desc left({m, k}, bf16, memory::dims{k, 1});
  const memory::desc right({k, n}, bf16, memory::dims{1, k});
  const memory::desc result({m, n}, memory::data_type::f32, memory::dims{dim(w.out), 1});
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::matmul::primitive_desc description(cpu, left, right, result);
#else
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(left, right, result), cpu);
#endif
  // oneDNN takes every buffer as void*; it only reads the first two.
  auto* from = const_cast<std::uint16_t*>(x);
  auto* weights = const_cast<std::uint16_t*>(w.bf16()) + columns.begin * w.in;
  dnnl::matmul(description)
      .execute(stream, {{DNNL_ARG_SRC, memory(left, cpu, from)},
                        {DNNL_ARG_WEIGHTS, memory(right, cpu, weights)},
                        {DNNL_ARG_DST, memory(result, cpu, y + columns.begin)}});
  stream.wait();
}

}  // namespace blip
#endif
