#include "blip/ops/elementwise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "blip/ops/isa.h"
#include "blip/ops/reference.h"
#include "blip/ops/threads.h"

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

template <bool kGelu>
void epilogue_row(const float* bias, const float* residual, std::size_t size, float* y) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  const auto one = [&](FloatVector v, FloatVector b, FloatVector r) {
    v = hn::Add(v, b);
    if constexpr (kGelu) v = gelu(d, v);
    return hn::Add(v, r);
  };
  std::size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    const auto b = bias != nullptr ? hn::LoadU(d, bias + i) : hn::Zero(d);
    const auto r = residual != nullptr ? hn::LoadU(d, residual + i) : hn::Zero(d);
    hn::StoreU(one(hn::LoadU(d, y + i), b, r), d, y + i);
  }
  if (i == size) return;
  HWY_ALIGN float tail[3][HWY_MAX_BYTES / sizeof(float)] = {};
  const std::size_t bytes = (size - i) * sizeof(float);
  std::memcpy(tail[0], y + i, bytes);
  if (bias != nullptr) std::memcpy(tail[1], bias + i, bytes);
  if (residual != nullptr) std::memcpy(tail[2], residual + i, bytes);
  hn::Store(one(hn::Load(d, tail[0]), hn::Load(d, tail[1]), hn::Load(d, tail[2])), d, tail[0]);
  std::memcpy(y + i, tail[0], bytes);
}

void epilogue_kernel(const Epilogue& e, std::size_t rows, std::size_t stride, std::size_t begin,
                     std::size_t end, float* y) {
  const auto row =
      e.activation == Epilogue::Activation::gelu ? epilogue_row<true> : epilogue_row<false>;
  for (std::size_t r = 0; r < rows; ++r) {
    row(e.bias == nullptr ? nullptr : e.bias + begin,
        e.residual == nullptr ? nullptr : e.residual + r * stride + begin, end - begin,
        y + r * stride + begin);
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
HWY_EXPORT(layer_norm_kernel);
HWY_EXPORT(softmax_kernel);

namespace {

void reference_epilogue(const Epilogue& e, std::size_t rows, std::size_t stride, std::size_t begin,
                        std::size_t end, float* y) {
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = begin; c < end; ++c) {
      float& v = y[r * stride + c];
      if (e.bias != nullptr) v += e.bias[c];
      if (e.activation == Epilogue::Activation::gelu) v = reference::gelu(v);
      if (e.residual != nullptr) v += e.residual[r * stride + c];
    }
  }
}

}  // namespace

void apply_epilogue(const Epilogue& epilogue, std::size_t rows, std::size_t stride,
                    std::size_t begin, std::size_t end, float* y) {
  if (active_isa() == Isa::reference) {
    reference_epilogue(epilogue, rows, stride, begin, end, y);
  } else {
    HWY_DYNAMIC_DISPATCH(epilogue_kernel)(epilogue, rows, stride, begin, end, y);
  }
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
