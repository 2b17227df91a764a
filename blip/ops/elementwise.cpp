#include "blip/ops/elementwise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "blip/base/threads.h"
#include "blip/ops/isa.h"
#include "blip/ops/reference.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip/ops/elementwise.cpp"
#include <hwy/foreach_target.h>
// Highway must come after foreach_target.
#include <hwy/highway.h>

#include "blip/ops/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace blip::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using FloatVector = hn::Vec<Floats>;

/// x * Phi(x) with erf from Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7).
FloatVector gelu(Floats d, FloatVector x) {
  const auto z = hn::Mul(hn::Abs(x), hn::Set(d, 0.70710678f));
  const auto t = hn::Div(hn::Set(d, 1.0f), hn::MulAdd(hn::Set(d, 0.3275911f), z, hn::Set(d, 1.0f)));
  auto p = hn::Set(d, 1.061405429f);
  p = hn::MulAdd(p, t, hn::Set(d, -1.453152027f));
  p = hn::MulAdd(p, t, hn::Set(d, 1.421413741f));
  p = hn::MulAdd(p, t, hn::Set(d, -0.284496736f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.254829592f));
  // half of erfc(|z|), which is Phi(-|x|)
  const auto tail =
      hn::Mul(hn::Mul(hn::Mul(p, t), hn::Set(d, 0.5f)), exp_negative(d, hn::Neg(hn::Mul(z, z))));
  const auto phi = hn::IfThenElse(hn::Ge(x, hn::Zero(d)), hn::Sub(hn::Set(d, 1.0f), tail), tail);
  return hn::Mul(x, phi);
}

/// x * Phi(x) to an absolute error of 2e-4: Phi(x) - 1/2 as an odd polynomial, fitted for that on
/// |x| <= 3.95 and held to 1/2 at its ends.
FloatVector gelu_coarsely(Floats d, FloatVector x) {
  constexpr float kEnd = 3.95f;
  constexpr float kFactors[] = {3.97986689e-1f, -6.47227449e-2f, 8.84291669e-3f, -8.29039117e-4f,
                                4.95519154e-5f, -1.68115127e-6f, 2.44357555e-8f};
  const auto held = hn::Max(hn::Min(x, hn::Set(d, kEnd)), hn::Set(d, -kEnd));
  const auto square = hn::Mul(held, held);
  auto p = hn::Set(d, kFactors[6]);
  for (int i = 5; i >= 0; --i) p = hn::MulAdd(p, square, hn::Set(d, kFactors[i]));
  return hn::Mul(x, hn::MulAdd(held, p, hn::Set(d, 0.5f)));
}

enum class Gelu { none, exact, coarse };

/// What an epilogue starts from: a row of f32, the output itself or another.
struct FromFloats {
  const float* y;
  HWY_INLINE FloatVector load(Floats d, std::size_t i) const { return hn::LoadU(d, y + i); }
  HWY_INLINE float one(std::size_t i) const { return y[i]; }
};

/// Or a row of integer sums.
struct FromSums {
  const std::int32_t* sums;
  RowScale row;
  const float* column_scales;
  const std::int32_t* column_sums;

  HWY_INLINE FloatVector load(Floats d, std::size_t i) const {
    const hn::RebindToSigned<Floats> ints;
    const auto zero = hn::Mul(hn::Set(ints, row.zero_point), hn::LoadU(ints, column_sums + i));
    const auto sum = hn::ConvertTo(d, hn::Sub(hn::LoadU(ints, sums + i), zero));
    return hn::Mul(sum, hn::Mul(hn::Set(d, row.scale), hn::LoadU(d, column_scales + i)));
  }
  HWY_INLINE float one(std::size_t i) const {
    return static_cast<float>(sums[i] - row.zero_point * column_sums[i]) *
           (row.scale * column_scales[i]);
  }
};

template <Gelu kGelu, class Source>
void epilogue_row(const Source& source, const float* bias, const float* residual, std::size_t size,
                  float* y) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  const auto finish = [&](FloatVector v, FloatVector b, FloatVector r) {
    v = hn::Add(v, b);
    if constexpr (kGelu == Gelu::exact) v = gelu(d, v);
    if constexpr (kGelu == Gelu::coarse) v = gelu_coarsely(d, v);
    return hn::Add(v, r);
  };
  std::size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    const auto b = bias != nullptr ? hn::LoadU(d, bias + i) : hn::Zero(d);
    const auto r = residual != nullptr ? hn::LoadU(d, residual + i) : hn::Zero(d);
    hn::StoreU(finish(source.load(d, i), b, r), d, y + i);
  }
  if (i == size) return;
  HWY_ALIGN float tail[3][HWY_MAX_BYTES / sizeof(float)] = {};
  for (std::size_t k = 0; k < size - i; ++k) {
    tail[0][k] = source.one(i + k);
    if (bias != nullptr) tail[1][k] = bias[i + k];
    if (residual != nullptr) tail[2][k] = residual[i + k];
  }
  hn::Store(finish(hn::Load(d, tail[0]), hn::Load(d, tail[1]), hn::Load(d, tail[2])), d, tail[0]);
  std::copy_n(tail[0], size - i, y + i);
}

template <class Source>
void epilogue_row(const Epilogue& e, const Source& source, const OutputBlock& block, std::size_t r,
                  float* y) {
  const float* bias = e.bias == nullptr ? nullptr : e.bias + block.begin;
  const float* residual =
      e.residual == nullptr ? nullptr : e.residual + r * block.stride + block.begin;
  const std::size_t size = block.end - block.begin;
  if (e.activation == Epilogue::Activation::none) {
    epilogue_row<Gelu::none>(source, bias, residual, size, y);
  } else if (e.coarse) {
    epilogue_row<Gelu::coarse>(source, bias, residual, size, y);
  } else {
    epilogue_row<Gelu::exact>(source, bias, residual, size, y);
  }
}

void epilogue_kernel(const Epilogue& e, const OutputBlock& block) {
  for (std::size_t r = 0; r < block.rows; ++r) {
    float* y = block.y + r * block.stride + block.begin;
    epilogue_row(e, FromFloats{y}, block, r, y);
  }
}

void sums_epilogue_kernel(const Epilogue& e, const float* sums, std::size_t stride,
                          const OutputBlock& block) {
  for (std::size_t r = 0; r < block.rows; ++r) {
    epilogue_row(e, FromFloats{sums + r * stride}, block, r,
                 block.y + r * block.stride + block.begin);
  }
}

void integer_epilogue_kernel(const Epilogue& e, const IntegerSums& sums, const OutputBlock& block) {
  for (std::size_t r = 0; r < block.rows; ++r) {
    const FromSums source{sums.sums + r * sums.stride, sums.rows[r],
                          sums.column_scales + block.begin, sums.column_sums + block.begin};
    epilogue_row(e, source, block, r, block.y + r * block.stride + block.begin);
  }
}

/// Sum over a row of f(x[i]); the tail is added one by one.
template <class Function, class Scalar>
float sum_row(const float* x, std::size_t size, Function f, Scalar scalar) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  auto a = hn::Zero(d);
  auto b = hn::Zero(d);
  std::size_t i = 0;
  for (; i + 2 * lanes <= size; i += 2 * lanes) {
    a = hn::Add(a, f(hn::LoadU(d, x + i)));
    b = hn::Add(b, f(hn::LoadU(d, x + i + lanes)));
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(a, b)));
  for (; i < size; ++i) sum += scalar(x[i]);
  return sum;
}

void layer_norm_row(const LayerNormParameters& p, const float* x, float* y) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  const float width = static_cast<float>(p.width);
  const float mean = sum_row(
                         x, p.width, [](FloatVector v) { return v; }, [](float v) { return v; }) /
                     width;
  const auto center = hn::Set(d, mean);
  const float variance = sum_row(
                             x, p.width,
                             [&](FloatVector v) {
                               const auto c = hn::Sub(v, center);
                               return hn::Mul(c, c);
                             },
                             [&](float v) { return (v - mean) * (v - mean); }) /
                         width;
  const float scale = 1.0f / std::sqrt(variance + p.eps);
  const auto scales = hn::Set(d, scale);
  std::size_t i = 0;
  for (; i + lanes <= p.width; i += lanes) {
    const auto normal = hn::Mul(hn::Sub(hn::LoadU(d, x + i), center), scales);
    hn::StoreU(hn::MulAdd(normal, hn::LoadU(d, p.gamma + i), hn::LoadU(d, p.beta + i)), d, y + i);
  }
  for (; i < p.width; ++i) y[i] = (x[i] - mean) * scale * p.gamma[i] + p.beta[i];
}

void layer_norm_kernel(const LayerNormParameters& p, const float* x, std::size_t rows, float* y) {
  for (std::size_t r = 0; r < rows; ++r) layer_norm_row(p, x + r * p.width, y + r * p.width);
}

void softmax_kernel(float* x, std::size_t rows, std::size_t width, std::size_t stride,
                    float scale) {
  for (std::size_t r = 0; r < rows; ++r) softmax_row(x + r * stride, width, scale);
}

}  // namespace blip::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blip {

HWY_EXPORT(epilogue_kernel);
HWY_EXPORT(sums_epilogue_kernel);
HWY_EXPORT(integer_epilogue_kernel);
HWY_EXPORT(layer_norm_kernel);
HWY_EXPORT(softmax_kernel);

namespace {

void reference_epilogue(const Epilogue& e, const OutputBlock& block) {
  for (std::size_t r = 0; r < block.rows; ++r) {
    for (std::size_t c = block.begin; c < block.end; ++c) {
      float& v = block.y[r * block.stride + c];
      if (e.bias != nullptr) v += e.bias[c];
      if (e.activation == Epilogue::Activation::gelu) v = reference::gelu(v);
      if (e.residual != nullptr) v += e.residual[r * block.stride + c];
    }
  }
}

}  // namespace

void apply_epilogue(const Epilogue& epilogue, const OutputBlock& block) {
  if (active_isa() == Isa::reference) return reference_epilogue(epilogue, block);
  HWY_DYNAMIC_DISPATCH(epilogue_kernel)(epilogue, block);
}

void apply_epilogue(const Epilogue& epilogue, const float* sums, std::size_t sums_stride,
                    const OutputBlock& block) {
  HWY_DYNAMIC_DISPATCH(sums_epilogue_kernel)(epilogue, sums, sums_stride, block);
}

void apply_epilogue(const Epilogue& epilogue, const IntegerSums& sums, const OutputBlock& block) {
  if (active_isa() != Isa::reference) {
    return HWY_DYNAMIC_DISPATCH(integer_epilogue_kernel)(epilogue, sums, block);
  }
  for (std::size_t r = 0; r < block.rows; ++r) {
    for (std::size_t c = block.begin; c < block.end; ++c) {
      const std::int32_t sum = sums.sums[r * sums.stride + c - block.begin] -
                               sums.rows[r].zero_point * sums.column_sums[c];
      block.y[r * block.stride + c] =
          static_cast<float>(sum) * (sums.rows[r].scale * sums.column_scales[c]);
    }
  }
  reference_epilogue(epilogue, block);
}

void layer_norm(const LayerNormParameters& p, const float* x, std::size_t rows, float* y) {
  if (active_isa() == Isa::reference) {
    for (std::size_t r = 0; r < rows; ++r) {
      reference::layer_norm(x + r * p.width, p.width, p.gamma, p.beta, p.eps, y + r * p.width);
    }
    return;
  }
  constexpr std::size_t kRowBlock = 16;
  const std::size_t blocks = (rows + kRowBlock - 1) / kRowBlock;
#pragma omp parallel for schedule(static) if (worth_threads(4 * rows * p.width))
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::size_t offset = i * kRowBlock * p.width;
    HWY_DYNAMIC_DISPATCH(layer_norm_kernel)
    (p, x + offset, std::min(kRowBlock, rows - i * kRowBlock), y + offset);
  }
}

void softmax(float* x, std::size_t rows, std::size_t width, std::size_t stride, float scale) {
  if (active_isa() == Isa::reference) {
    for (std::size_t r = 0; r < rows; ++r) reference::softmax(x + r * stride, width, scale);
  } else {
    HWY_DYNAMIC_DISPATCH(softmax_kernel)(x, rows, width, stride, scale);
  }
}

}  // namespace blip
#endif
