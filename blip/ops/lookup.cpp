#include "blip/ops/lookup.h"

#include "blip/ops/isa.h"
#include "blip/ops/reference.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip/ops/lookup.cpp"
#include <hwy/foreach_target.h>
// Highway must come after foreach_target.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace blip::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR
void lookup_kernel(const std::uint8_t* blocks, std::size_t count, const std::uint8_t* tables,
                   std::size_t groups, std::uint16_t* sums) {
  reference::lookup_sums(blocks, count, tables, groups, sums);
}
#else
using Bytes = hn::CappedTag<std::uint8_t, kLookupGroups * kLookupBytes>;
using Words = hn::Repartition<std::uint16_t, Bytes>;
using WordVector = hn::Vec<Words>;

/// 16 sums of which `all` has the even rows plus 256 times the odd ones, modulo 65536, and `odd`
/// the odd ones, each in as many parts as a vector has 16 bytes.
void store_sums(WordVector all, WordVector odd, std::uint16_t* sums) {
  const Words d;
  const hn::Full128<std::uint16_t> part;
  HWY_ALIGN std::uint16_t parts[2][hn::MaxLanes(Words())];
  hn::Store(hn::Sub(all, hn::ShiftLeft<8>(odd)), d, parts[0]);
  hn::Store(odd, d, parts[1]);
  auto evens = hn::Load(part, parts[0]), odds = hn::Load(part, parts[1]);
  for (std::size_t i = hn::Lanes(part); i < hn::Lanes(d); i += hn::Lanes(part)) {
    evens = hn::Add(evens, hn::Load(part, parts[0] + i));
    odds = hn::Add(odds, hn::Load(part, parts[1] + i));
  }
  hn::StoreU(hn::InterleaveLower(part, evens, odds), part, sums);
  hn::StoreU(hn::InterleaveUpper(part, evens, odds), part, sums + hn::Lanes(part));
}

void lookup_kernel(const std::uint8_t* blocks, std::size_t count, const std::uint8_t* tables,
                   std::size_t groups, std::uint16_t* sums) {
  const Bytes d;
  const Words words;
  const std::size_t size = groups * kLookupBytes;
  const auto nibble = hn::Set(d, 0x0f);
  for (std::size_t b = 0; b < count; ++b) {
    const std::uint8_t* block = blocks + b * size;
    auto low = hn::Zero(words), low_odd = low, high = low, high_odd = low;
    for (std::size_t i = 0; i < size; i += hn::Lanes(d)) {
      const auto numbers = hn::LoadU(d, block + i);
      const auto table = hn::LoadU(d, tables + i);
      const auto upper = hn::BitCast(d, hn::ShiftRight<4>(hn::BitCast(words, numbers)));
      const auto of_low = hn::BitCast(words, hn::TableLookupBytes(table, hn::And(numbers, nibble)));
      const auto of_high = hn::BitCast(words, hn::TableLookupBytes(table, hn::And(upper, nibble)));
      low = hn::Add(low, of_low);
      low_odd = hn::Add(low_odd, hn::ShiftRight<8>(of_low));
      high = hn::Add(high, of_high);
      high_odd = hn::Add(high_odd, hn::ShiftRight<8>(of_high));
    }
    store_sums(low, low_odd, sums + b * kLookupRows);
    store_sums(high, high_odd, sums + b * kLookupRows + kLookupRows / 2);
  }
}
#endif

}  // namespace blip::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blip {

HWY_EXPORT(lookup_kernel);

void lookup_sums(const std::uint8_t* blocks, std::size_t count, const std::uint8_t* tables,
                 std::size_t groups, std::uint16_t* sums) {
  if (active_isa() == Isa::reference)
    return reference::lookup_sums(blocks, count, tables, groups, sums);
  HWY_DYNAMIC_DISPATCH(lookup_kernel)(blocks, count, tables, groups, sums);
}

}  // namespace blip
#endif
