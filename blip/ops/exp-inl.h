// Vector exp and softmax for the kernel files: compiled once per instruction set (Highway's -inl
// convention), hence the toggled guard.
#if defined(BLIP_OPS_EXP_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef BLIP_OPS_EXP_INL_H
#undef BLIP_OPS_EXP_INL_H
#else
#define BLIP_OPS_EXP_INL_H
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstddef>

HWY_BEFORE_NAMESPACE();
namespace blip::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// exp(x) for x <= 0; 0 below -87. 2^n from the exponent bits, e^r on |r| <= ln(2)/2 from the
/// Taylor series to r^kTerms: relative error under 3e-7 with 6, under 1e-4 with 4, where bf16
/// follows.
template <int kTerms = 6, class D, class V = hn::Vec<D>>
HWY_INLINE V exp_negative(D d, V x) {
  constexpr float kInverseFactorials[] = {1, 1, 0.5f, 1.0f / 6, 1.0f / 24, 1.0f / 120, 1.0f / 720};
  const hn::RebindToSigned<D> di;
  const auto lowest = hn::Set(d, -87.0f);
  const auto underflow = hn::Lt(x, lowest);
  x = hn::Max(x, lowest);
  const auto n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504f)));
  // ln(2) in two parts, so that n * ln(2) loses nothing
  auto r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  auto p = hn::Set(d, kInverseFactorials[kTerms]);
  for (int i = kTerms - 1; i >= 0; --i) p = hn::MulAdd(p, r, hn::Set(d, kInverseFactorials[i]));
  const auto exponent = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127)));
  return hn::IfThenZeroElse(underflow, hn::Mul(p, hn::BitCast(d, exponent)));
}

/// In place: softmax(x * scale), scale > 0.
HWY_INLINE void softmax_row(float* x, std::size_t width, float scale) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  float top = x[0];
  std::size_t i = 0;
  if (width >= lanes) {
    auto tops = hn::LoadU(d, x);
    for (i = lanes; i + lanes <= width; i += lanes) tops = hn::Max(tops, hn::LoadU(d, x + i));
    top = hn::GetLane(hn::MaxOfLanes(d, tops));
  }
  for (; i < width; ++i) top = x[i] > top ? x[i] : top;

  const auto scales = hn::Set(d, scale);
  const auto tops = hn::Set(d, top);
  auto sums = hn::Zero(d);
  for (i = 0; i + lanes <= width; i += lanes) {
    const auto e = exp_negative(d, hn::Mul(hn::Sub(hn::LoadU(d, x + i), tops), scales));
    sums = hn::Add(sums, e);
    hn::StoreU(e, d, x + i);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, sums));
  for (; i < width; ++i) {
    x[i] = hn::GetLane(exp_negative(d, hn::Set(d, (x[i] - top) * scale)));
    sum += x[i];
  }

  const float factor = 1.0f / sum;
  const auto factors = hn::Set(d, factor);
  for (i = 0; i + lanes <= width; i += lanes)
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), factors), d, x + i);
  for (; i < width; ++i) x[i] *= factor;
}

}  // namespace blip::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
