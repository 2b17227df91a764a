#include "blip/ops/matmul.h"

#include <omp.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/threads.h"
#include "blip/ops/isa.h"
#include "blip/ops/reference.h"
#include "blip/ops/tiles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip/ops/matmul.cpp"
#include <hwy/foreach_target.h>
// Highway must come after foreach_target.
#include <hwy/highway.h>

#include "blip/ops/dot-inl.h"

HWY_BEFORE_NAMESPACE();
namespace blip::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void few_rows_kernel(const float* x, const WeightMatrix& w, const Product& p, float* y) {
  if (w.precision == Precision::f32) return dot_rows(x, w.f32(), p, y);
  dot_rows(x, w.bf16(), p, y);
}

/// Where the CPU multiplies bf16.
void few_rows_bf16_kernel([[maybe_unused]] const std::uint16_t* x,
                          [[maybe_unused]] const WeightMatrix& w, [[maybe_unused]] const Product& p,
                          [[maybe_unused]] float* y) {
#ifdef BLIP_DOT_PAIRS
  dot_rows(x, w.bf16(), p, y);
#else
  throw Error(ErrorCode::internal, "this CPU does not multiply bf16");
#endif
}

void few_rows_int8_kernel(const std::int16_t* q, const float* row_scales, const WeightMatrix& w,
                          const Product& p, float* y) {
  dot_rows(q, w.int8(), p, y);
  for (std::size_t r = 0; r < p.rows; ++r) {
    for (std::size_t n = p.begin; n < p.end; ++n) {
      y[r * p.y_stride + n] *= row_scales[r] * w.scales.data()[n];
    }
  }
}

/// q = x / scale rounded, where scale makes the largest magnitude of the row `top`.
void quantize_16_kernel(const float* x, std::size_t width, float top, std::int16_t* q,
                        float& scale) {
  const Floats d;
  const hn::Rebind<std::int16_t, Floats> shorts;
  const std::size_t lanes = hn::Lanes(d);
  auto largest = hn::Zero(d);
  float most = 0;
  std::size_t i = 0;
  for (; i + lanes <= width; i += lanes) largest = hn::Max(hn::Abs(hn::LoadU(d, x + i)), largest);
  for (; i < width; ++i) most = std::max(most, std::fabs(x[i]));
  most = std::max(most, hn::GetLane(hn::MaxOfLanes(d, largest)));
  scale = most > 0 && std::isfinite(most) ? most / top : 1.0f;
  const auto inverse = hn::Set(d, 1.0f / scale), limit = hn::Set(d, top);
  for (i = 0; i + lanes <= width; i += lanes) {
    auto v = hn::Mul(hn::LoadU(d, x + i), inverse);
    v = hn::IfThenElse(hn::IsNaN(v), hn::Zero(d), v);
    v = hn::Min(hn::Max(v, hn::Neg(limit)), limit);
    hn::StoreU(hn::DemoteTo(shorts, hn::NearestInt(v)), shorts, q + i);
  }
  for (; i < width; ++i) {
    const float v = x[i] / scale;
    q[i] =
        static_cast<std::int16_t>(std::nearbyint(std::isnan(v) ? 0.0f : std::clamp(v, -top, top)));
  }
}

}  // namespace blip::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blip {

HWY_EXPORT(few_rows_kernel);
HWY_EXPORT(few_rows_bf16_kernel);
HWY_EXPORT(few_rows_int8_kernel);
HWY_EXPORT(quantize_16_kernel);

namespace {

dnnl_dim_t dim(std::size_t n) {
  return static_cast<dnnl_dim_t>(n);
}

void check(dnnl_status_t status) {
  if (status == dnnl_success) return;
  throw Error(ErrorCode::internal, "oneDNN refused a matrix product (status " +
                                       std::to_string(static_cast<int>(status)) + ")");
}

/// What a product of few rows reads: x times the smoothing of its weights; for bf16 weights rounded
/// like them where that is faster; for int8 weights as 16-bit integers, of as many bits as
/// cannot overflow their 32-bit sums: 12 for 4096 values, 14 for 1024; far finer than the weights.
class FewRowsInput {
 public:
  void prepare(const float* x, std::size_t rows, const WeightMatrix& w) {
    x_ = x;
    if (!w.smoothing.empty()) {
      smoothed_.resize(rows * w.in);
      for (std::size_t i = 0; i < smoothed_.size(); ++i) {
        smoothed_[i] = x[i] * w.smoothing.data()[i % w.in];
      }
      x_ = smoothed_.data();
    }
    if (rounds(w)) {
      halves_.resize(rows * w.in);
      round_in_registers(x_, halves_.size(), halves_.data());
    }
    if (w.precision == Precision::int8 && active_isa() != Isa::reference) quantize(rows, w.in);
  }

  const float* x() const { return x_; }

  void multiply(const WeightMatrix& w, const Product& p, float* y) const {
    if (rounds(w)) return HWY_DYNAMIC_DISPATCH(few_rows_bf16_kernel)(halves_.data(), w, p, y);
    if (w.precision != Precision::int8) {
      return HWY_DYNAMIC_DISPATCH(few_rows_kernel)(x_, w, p, y);
    }
    HWY_DYNAMIC_DISPATCH(few_rows_int8_kernel)(integers_.data(), scales_.data(), w, p, y);
  }

 private:
  static bool rounds(const WeightMatrix& w) {
    return w.precision == Precision::bf16 && rounds_few_rows();
  }

  void quantize(std::size_t rows, std::size_t width) {
    const std::size_t top = std::min<std::size_t>(
        std::numeric_limits<std::int32_t>::max() / (127 * std::max<std::size_t>(width, 1)), 32767);
    integers_.resize(rows * width);
    scales_.resize(rows);
    for (std::size_t r = 0; r < rows; ++r) {
      HWY_DYNAMIC_DISPATCH(quantize_16_kernel)
      (x_ + r * width, width, static_cast<float>(top), integers_.data() + r * width, scales_[r]);
    }
  }

  const float* x_ = nullptr;
  std::vector<float> smoothed_;
  std::vector<std::uint16_t> halves_;
  std::vector<std::int16_t> integers_;
  std::vector<float> scales_;
};

/// Columns that a kernel is given at once: their weights stay in the second-level cache while every
/// row passes over them. Every tile's width divides 24.
std::size_t chunk_columns(const WeightMatrix& w) {
  constexpr std::size_t kChunkWeights = 36864, kStep = 24;
  return std::clamp<std::size_t>(kChunkWeights / std::max<std::size_t>(w.in, 1) / kStep, 1, 4) *
         kStep;
}

std::size_t chunk_count(const WeightMatrix& w) {
  return parts_of(w.out, chunk_columns(w));
}

/// Chunks [begin, end) of a product, and what follows on their columns.
void multiply_chunks(const FewRowsInput& input, std::size_t rows, const FewRowsProduct& product,
                     std::size_t begin, std::size_t end) {
  const WeightMatrix& w = *product.weight;
  const std::size_t width = chunk_columns(w);
  for (std::size_t i = begin; i < end; ++i) {
    input.multiply(w, {rows, w.in, i * width, std::min((i + 1) * width, w.out), w.in, w.out},
                   product.y);
  }
  if (product.epilogue.does_nothing()) return;
  apply_epilogue(product.epilogue,
                 {product.y, rows, w.out, begin * width, std::min(end * width, w.out)});
}

/// The first of `products` that reads the same as the i-th.
std::size_t same_input(std::span<const FewRowsProduct> products, std::size_t i) {
  const auto plain = [](const FewRowsProduct& p) { return p.weight->smoothing.empty(); };
  const auto same = [&](const FewRowsProduct& p) {
    return plain(p) && p.weight->precision == products[i].weight->precision;
  };
  if (!plain(products[i])) return i;
  return static_cast<std::size_t>(std::find_if(products.begin(), products.end(), same) -
                                  products.begin());
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

void matmul_few_rows(const float* x, std::size_t rows, std::span<const FewRowsProduct> products) {
  thread_local std::vector<FewRowsInput> kept;
  std::vector<FewRowsInput>& inputs = kept;  // the caller's, in every thread
  if (inputs.size() < products.size()) inputs.resize(products.size());
  std::size_t chunks = 0, multiply_adds = 0;
  for (std::size_t i = 0; i < products.size(); ++i) {
    const WeightMatrix& w = *products[i].weight;
    if (w.panels) throw Error(ErrorCode::internal, "panels are for many rows");
    if (same_input(products, i) == i) inputs[i].prepare(x, rows, w);
    chunks += chunk_count(w);
    multiply_adds += rows * w.out * w.in;
  }
  if (active_isa() == Isa::reference) {
    for (std::size_t i = 0; i < products.size(); ++i) {
      const WeightMatrix& w = *products[i].weight;
      const float* from = inputs[same_input(products, i)].x();
      reference::linear(from, reference::widened(w).data(), rows, w.out, w.in, products[i].y);
      apply_epilogue(products[i].epilogue, {products[i].y, rows, w.out, 0, w.out});
    }
    return;
  }
#pragma omp parallel if (worth_threads(multiply_adds))
  {
    const auto threads = static_cast<std::size_t>(omp_get_num_threads());
    const auto thread = static_cast<std::size_t>(omp_get_thread_num());
    const std::size_t begin = chunks * thread / threads, end = chunks * (thread + 1) / threads;
    std::size_t first = 0;  // of all products' chunks, this one's
    for (std::size_t i = 0; i < products.size(); ++i) {
      const std::size_t count = chunk_count(*products[i].weight);
      const std::size_t from = std::clamp(begin, first, first + count) - first;
      const std::size_t to = std::clamp(end, first, first + count) - first;
      if (from < to) multiply_chunks(inputs[same_input(products, i)], rows, products[i], from, to);
      first += count;
    }
  }
}

void matmul_few_rows(const float* x, const WeightMatrix& w, std::size_t rows, float* y) {
  const FewRowsProduct product{&w, {}, y};
  matmul_few_rows(x, rows, {&product, 1});
}

void matmul_int8(const std::uint8_t* q, std::size_t rows, const WeightMatrix& w,
                 const ColumnRange& columns, std::int32_t* sums) {
  const std::int8_t* weights = w.int8() + columns.begin * w.in;
  if (active_isa() == Isa::reference) {
    return reference::matmul_int8(q, weights, rows, columns.width(), w.in, sums);
  }
  const std::size_t in = w.in, width = columns.width();
  const std::int32_t offset = 0;
  check(dnnl_gemm_u8s8s32('N', 'T', 'F', dim(rows), dim(width), dim(in), 1.0f, q, dim(in), 0,
                          weights, dim(in), 0, 0.0f, sums, dim(width), &offset));
}

/// Not with AMX: there the instruction takes four times as long as a multiply-add of f32, for twice
/// the products.
bool rounds_few_rows() {
  static const bool slow = has_feature("amx_bf16");
  return !slow && tiles_multiply(Precision::bf16);
}

/// Asked of what oneDNN uses, which force_isa() can lower, but not after its first product.
int activation_levels() {
  if (active_isa() == Isa::avx2) return 127;
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

}  // namespace blip
#endif
