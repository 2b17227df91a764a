#include "blip/ops/quantize.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "blip/base/threads.h"
#include "blip/ops/isa.h"
#include "blip/ops/matmul.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip/ops/quantize.cpp"
#include <hwy/foreach_target.h>
// Highway must come after foreach_target.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace blip::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;

/// Calls f(vector, index) for whole vectors of `width` values and g(index) for the rest.
template <class Vectors, class Scalars>
HWY_INLINE void for_each(std::size_t width, Vectors f, Scalars g) {
  const std::size_t lanes = hn::Lanes(Floats());
  std::size_t i = 0;
  for (; i + lanes <= width; i += lanes) f(i);
  for (; i < width; ++i) g(i);
}

void quantize_row_kernel(const float* x, std::size_t width, const float* smoothing, int levels,
                         std::uint8_t* q, std::size_t piece_step, RowScale& row) {
  const Floats d;
  const auto place = [&](std::size_t i) { return q + i / 64 * piece_step + i % 64; };
  const hn::Rebind<std::uint8_t, Floats> bytes;
  const auto load = [&](std::size_t i) {
    const auto v = hn::LoadU(d, x + i);
    return smoothing == nullptr ? v : hn::Mul(v, hn::LoadU(d, smoothing + i));
  };
  const auto one = [&](std::size_t i) { return smoothing == nullptr ? x[i] : x[i] * smoothing[i]; };

  auto lows = hn::Zero(d), highs = hn::Zero(d);
  float low = 0, high = 0;
  for_each(
      width,
      [&](std::size_t i) {
        const auto v = load(i);
        lows = hn::Min(v, lows);
        highs = hn::Max(v, highs);
      },
      [&](std::size_t i) {
        low = std::min(low, one(i));
        high = std::max(high, one(i));
      });
  low = std::min(low, hn::GetLane(hn::MinOfLanes(d, lows)));
  high = std::max(high, hn::GetLane(hn::MaxOfLanes(d, highs)));

  const float range = high - low;
  row.scale = range > 0 && std::isfinite(range) ? range / static_cast<float>(levels) : 1.0f;
  const float inverse = 1.0f / row.scale;
  // -low may be infinite
  row.zero_point = static_cast<std::int32_t>(
      std::nearbyint(std::clamp(-low * inverse, 0.0f, static_cast<float>(levels))));

  const auto zero_point = static_cast<float>(row.zero_point);
  const auto top = static_cast<float>(levels);
  const auto scales = hn::Set(d, inverse), offset = hn::Set(d, zero_point), limit = hn::Set(d, top);
  for_each(
      width,
      [&](std::size_t i) {
        auto v = hn::MulAdd(load(i), scales, offset);
        v = hn::IfThenElse(hn::IsNaN(v), offset, v);
        v = hn::Min(hn::Max(v, hn::Zero(d)), limit);
        hn::StoreU(hn::DemoteTo(bytes, hn::NearestInt(v)), bytes, place(i));
      },
      [&](std::size_t i) {
        const float v = one(i) * inverse + zero_point;
        *place(i) = static_cast<std::uint8_t>(
            std::nearbyint(std::isnan(v) ? zero_point : std::clamp(v, 0.0f, top)));
      });
}

std::int32_t quantize_weights_kernel(const float* w, std::size_t width, const float* smoothing,
                                     std::int8_t* q, float& scale) {
  const Floats d;
  const hn::Rebind<std::int8_t, Floats> bytes;
  const hn::RebindToSigned<Floats> ints;
  const auto load = [&](std::size_t i) {
    const auto v = hn::LoadU(d, w + i);
    return smoothing == nullptr ? v : hn::Div(v, hn::LoadU(d, smoothing + i));
  };
  const auto one = [&](std::size_t i) { return smoothing == nullptr ? w[i] : w[i] / smoothing[i]; };

  auto largest = hn::Zero(d);
  float most = 0;
  for_each(
      width, [&](std::size_t i) { largest = hn::Max(hn::Abs(load(i)), largest); },
      [&](std::size_t i) { most = std::max(most, std::fabs(one(i))); });
  most = std::max(most, hn::GetLane(hn::MaxOfLanes(d, largest)));

  scale = most > 0 && std::isfinite(most) ? most / 127.0f : 1.0f;
  const float inverse = 1.0f / scale;
  const auto scales = hn::Set(d, inverse), limit = hn::Set(d, 127.0f);
  auto sums = hn::Zero(ints);
  std::int32_t sum = 0;
  for_each(
      width,
      [&](std::size_t i) {
        auto v = hn::Mul(load(i), scales);
        v = hn::IfThenElse(hn::IsNaN(v), hn::Zero(d), v);
        const auto rounded = hn::NearestInt(hn::Min(hn::Max(v, hn::Neg(limit)), limit));
        sums = hn::Add(sums, rounded);
        hn::StoreU(hn::DemoteTo(bytes, rounded), bytes, q + i);
      },
      [&](std::size_t i) {
        const float v = one(i) * inverse;
        q[i] = static_cast<std::int8_t>(
            std::nearbyint(std::isnan(v) ? 0.0f : std::clamp(v, -127.0f, 127.0f)));
        sum += q[i];
      });
  return sum + hn::GetLane(hn::SumOfLanes(ints, sums));
}

/// Nearest even by integer arithmetic; a NaN stays one.
void round_to_bf16_kernel(const float* x, std::size_t size, std::uint16_t* y) {
  const Floats floats;
  const hn::RebindToUnsigned<Floats> d;
  const hn::Rebind<std::uint16_t, Floats> halves;
  for_each(
      size,
      [&](std::size_t i) {
        const auto v = hn::BitCast(d, hn::LoadU(floats, x + i));
        const auto even = hn::And(hn::ShiftRight<16>(v), hn::Set(d, 1u));
        const auto rounded = hn::ShiftRight<16>(hn::Add(v, hn::Add(even, hn::Set(d, 0x7FFFu))));
        const auto quiet = hn::Or(hn::ShiftRight<16>(v), hn::Set(d, 0x40u));
        const auto magnitude = hn::And(v, hn::Set(d, 0x7FFFFFFFu));
        const auto is_nan = hn::Gt(magnitude, hn::Set(d, 0x7F800000u));
        const auto result = hn::IfThenElse(is_nan, quiet, rounded);
        hn::StoreU(hn::DemoteTo(halves, hn::BitCast(hn::RebindToSigned<Floats>(), result)), halves,
                   y + i);
      },
      [&](std::size_t i) {
        const auto v = std::bit_cast<std::uint32_t>(x[i]);
        y[i] = static_cast<std::uint16_t>((v & 0x7FFFFFFFu) > 0x7F800000u
                                              ? (v >> 16 | 0x40u)
                                              : (v + 0x7FFFu + (v >> 16 & 1u)) >> 16);
      });
}

void widen_bf16_kernel(const std::uint16_t* x, std::size_t size, float* y) {
  const Floats floats;
  const hn::RebindToUnsigned<Floats> d;
  const hn::Rebind<std::uint16_t, Floats> halves;
  for_each(
      size,
      [&](std::size_t i) {
        const auto wide = hn::ShiftLeft<16>(hn::PromoteTo(d, hn::LoadU(halves, x + i)));
        hn::StoreU(hn::BitCast(floats, wide), floats, y + i);
      },
      [&](std::size_t i) { y[i] = std::bit_cast<float>(static_cast<std::uint32_t>(x[i]) << 16); });
}

}  // namespace blip::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blip {

HWY_EXPORT(quantize_row_kernel);
HWY_EXPORT(quantize_weights_kernel);
HWY_EXPORT(round_to_bf16_kernel);
HWY_EXPORT(widen_bf16_kernel);

void quantize_rows(const float* x, std::size_t rows, std::size_t width, const float* smoothing,
                   const PiecedRows& q, RowScale* scales) {
  active_isa();  // settles what is dispatched to
  const int levels = activation_levels();
#pragma omp parallel for schedule(static) if (worth_threads(4 * rows * width))
  for (std::size_t r = 0; r < rows; ++r) {
    HWY_DYNAMIC_DISPATCH(quantize_row_kernel)
    (x + r * width, width, smoothing, levels, q.first + r * q.row_step, q.piece_step, scales[r]);
  }
}

void quantize_rows(const float* x, std::size_t rows, std::size_t width, const float* smoothing,
                   std::uint8_t* q, RowScale* scales) {
  quantize_rows(x, rows, width, smoothing, {q, width, 64}, scales);
}

std::int32_t quantize_weights(const float* w, std::size_t width, const float* smoothing,
                              std::int8_t* q, float& scale) {
  return HWY_DYNAMIC_DISPATCH(quantize_weights_kernel)(w, width, smoothing, q, scale);
}

void round_to_bf16(const float* x, std::size_t size, std::uint16_t* y) {
  HWY_DYNAMIC_DISPATCH(round_to_bf16_kernel)(x, size, y);
}

void widen_bf16(const std::uint16_t* x, std::size_t size, float* y) {
  HWY_DYNAMIC_DISPATCH(widen_bf16_kernel)(x, size, y);
}

}  // namespace blip
#endif
