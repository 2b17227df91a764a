#include "blip/ops/dot.h"

#include "blip/ops/isa.h"
#include "blip/ops/reference.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip/ops/dot.cpp"
#include <hwy/foreach_target.h>
// Highway must come after foreach_target.
#include <hwy/highway.h>

#include "blip/ops/dot-inl.h"

HWY_BEFORE_NAMESPACE();
namespace blip::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Four sums at once hide the latency of the multiply-add.
float dot_kernel(const float* a, const float* b, std::size_t size) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  auto sum0 = hn::Zero(d), sum1 = hn::Zero(d), sum2 = hn::Zero(d), sum3 = hn::Zero(d);
  std::size_t i = 0;
  for (; i + 4 * lanes <= size; i += 4 * lanes) {
    sum0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum0);
    sum1 = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), sum1);
    sum2 = hn::MulAdd(hn::LoadU(d, a + i + 2 * lanes), hn::LoadU(d, b + i + 2 * lanes), sum2);
    sum3 = hn::MulAdd(hn::LoadU(d, a + i + 3 * lanes), hn::LoadU(d, b + i + 3 * lanes), sum3);
  }
  for (; i + lanes <= size; i += lanes) {
    sum0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum0);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
  for (; i < size; ++i) sum += a[i] * b[i];
  return sum;
}

/// Two pairs of sums, of which x86 needs the first halves only.
std::int32_t code_kernel(const std::int16_t* a, const std::int8_t* b, std::size_t size) {
  const hn::ScalableTag<std::int16_t> d;
  const hn::Rebind<std::int8_t, decltype(d)> bytes;
  const hn::ScalableTag<std::int32_t> wide;
  const std::size_t lanes = hn::Lanes(d);
  auto low0 = hn::Zero(wide), high0 = low0, low1 = low0, high1 = low0;
  std::size_t i = 0;
  const auto add = [&](std::size_t at, auto& low, auto& high) __attribute__((always_inline)) {
    add_products(hn::LoadU(d, a + at), hn::PromoteTo(d, hn::LoadU(bytes, b + at)), low, high);
  };
  for (; i + 2 * lanes <= size; i += 2 * lanes) {
    add(i, low0, high0);
    add(i + lanes, low1, high1);
  }
  if (i + lanes <= size) {
    add(i, low0, high0);
    i += lanes;
  }
  const auto sums = hn::Add(hn::Add(low0, low1), hn::Add(high0, high1));
  std::int32_t sum = hn::GetLane(hn::SumOfLanes(wide, sums));
  for (; i < size; ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace blip::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blip {

HWY_EXPORT(dot_kernel);
HWY_EXPORT(code_kernel);

namespace {

float reference_dot(const float* a, const float* b, std::size_t size) {
  float sum;
  reference::linear(a, b, 1, 1, size, &sum);
  return sum;
}

}  // namespace

DotProduct dot_product() {
  if (active_isa() == Isa::reference) return reference_dot;
  return &HWY_DYNAMIC_DISPATCH(dot_kernel);  // chosen by active_isa()
}

CodeProduct code_product() {
  if (active_isa() == Isa::reference) return reference::code_product;
  return &HWY_DYNAMIC_DISPATCH(code_kernel);
}

}  // namespace blip
#endif
