#include "blip/ops/peak.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include "blip/ops/avx512-inl.h"
#include "blip/ops/isa.h"
#include "blip/ops/tiles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blip/ops/peak.cpp"
#include <hwy/foreach_target.h>
// Highway must come after foreach_target.
#include <hwy/highway.h>

#include "blip/ops/dot-inl.h"

HWY_BEFORE_NAMESPACE();
namespace blip::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Enough to hide the latency of what adds to them; AVX2's 16 registers have room for them and for
/// what is multiplied.
constexpr std::size_t kSums = 12;

/// Says that the value of `v` is used, and then another: else the compiler would do equal products
/// once, and those that nobody reads never.
template <class V>
HWY_INLINE void hide([[maybe_unused]] V& v) {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
#elif HWY_ARCH_X86
  asm volatile("" : "+v"(v.raw));
#elif HWY_ARCH_ARM
  asm volatile("" : "+w"(v.raw));
#endif
}

/// add(sum) for each of the sums, `rounds` times.
template <class D, class Add>
HWY_INLINE void add_in_registers(D d, std::size_t rounds, Add add) {
  hn::Vec<D> sums[kSums];
  for_constants<kSums>([&](auto i) __attribute__((always_inline)) { sums[i] = hn::Zero(d); });
  for (std::size_t round = 0; round < rounds; ++round) {
    for_constants<kSums>([&](auto i) __attribute__((always_inline)) {
      hide(sums[i]);
      add(sums[i]);
    });
  }
  for_constants<kSums>([&](auto i) __attribute__((always_inline)) { hide(sums[i]); });
}

/// Each returns the operations that it did.

double add_floats(std::size_t rounds) {
  const Floats d;
  FloatVector a = hn::Set(d, 0.5f), b = hn::Set(d, 1e-6f);
  hide(a);
  hide(b);
  add_in_registers(
      d, rounds, [&](FloatVector & sum) __attribute__((always_inline)) {
        sum = hn::MulAdd(a, b, sum);
      });
  return 2.0 * static_cast<double>(kSums * rounds * hn::Lanes(d));
}

/// Products of bytes where no instruction adds them to 32 bits.
double add_bytes(std::size_t rounds) {
  const hn::ScalableTag<std::int32_t> d;
  const hn::ScalableTag<std::int16_t> words;
  auto a = hn::Set(words, 0x0101), b = a, ones = hn::Set(words, 1);
  using Sum = hn::Vec<decltype(d)>;
  Sum unused = hn::Zero(d);  // on x86
  add_in_registers(
      d, rounds, [&](Sum & sum) __attribute__((always_inline)) {
        hide(a);
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
        const decltype(a) pairs{_mm512_maddubs_epi16(a.raw, b.raw)};
#elif HWY_TARGET == HWY_AVX2
    const decltype(a) pairs{_mm256_maddubs_epi16(a.raw, b.raw)};
#elif HWY_TARGET == HWY_SSE4
    const decltype(a) pairs{_mm_maddubs_epi16(a.raw, b.raw)};
#else
    const auto pairs = b;
    ones = a;
#endif
        add_products(pairs, ones, sum, unused);
      });
  hide(unused);
  constexpr std::size_t kOfALane = HWY_ARCH_X86 && HWY_TARGET != HWY_EMU128 ? 4 : 2;
  return 2.0 * static_cast<double>(kSums * rounds * hn::Lanes(d) * kOfALane);
}

/// In one instruction: two bf16 products of each lane, or four of bytes. Where the CPU has it.
double add_pairs_of_bf16(std::size_t rounds) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  const Floats d;
  FloatVector a = hn::Set(d, 0.5f), b = a;
  add_in_registers(
      d, rounds, [&](FloatVector & sum) __attribute__((always_inline)) {
        asm volatile("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
      });
  return 4.0 * static_cast<double>(kSums * rounds * hn::Lanes(d));
#else
  return add_floats(rounds);
#endif
}

#undef BLIP_ADD_FOURS_OF_BYTES
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
#define BLIP_ADD_FOURS_OF_BYTES "vpdpbusd %2, %1, %0"
#elif HWY_TARGET == HWY_AVX2
#define BLIP_ADD_FOURS_OF_BYTES "%{vex%} vpdpbusd %2, %1, %0"
#endif

double add_fours_of_bytes(std::size_t rounds) {
#ifdef BLIP_ADD_FOURS_OF_BYTES
  const hn::ScalableTag<std::int32_t> d;
  auto a = hn::Set(d, 0x01010101), b = a;
  add_in_registers(
      d, rounds, [&](decltype(a)& sum) __attribute__((always_inline)) {
        asm volatile(BLIP_ADD_FOURS_OF_BYTES : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
      });
  return 8.0 * static_cast<double>(kSums * rounds * hn::Lanes(d));
#else
  return add_bytes(rounds);
#endif
}

}  // namespace blip::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blip {

HWY_EXPORT(add_floats);
HWY_EXPORT(add_bytes);
HWY_EXPORT(add_pairs_of_bf16);
HWY_EXPORT(add_fours_of_bytes);

namespace {

using Products = double (*)(std::size_t rounds);

#if BLIP_HAS_AVX512
/// Whole tiles in all eight registers.
alignas(64) constexpr std::array<std::uint8_t, 64> kTiles = [] {
  std::array<std::uint8_t, 64> configuration{1};
  for (std::size_t tile = 0; tile < 8; ++tile) {
    configuration[16 + 2 * tile] = 64;
    configuration[48 + tile] = 16;
  }
  return configuration;
}();

/// Six sums of 16 x 16: a product takes 16 cycles, its sum is there after 52.
template <bool kIntegers>
BLIP_TILE_CODE double add_tiles(std::size_t rounds) {
  _tile_loadconfig(kTiles.data());
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  const std::size_t fewer = rounds / 8;
  for (std::size_t round = 0; round < fewer; ++round) {
    if constexpr (kIntegers) {
      _tile_dpbusd(0, 6, 7);
      _tile_dpbusd(1, 6, 7);
      _tile_dpbusd(2, 6, 7);
      _tile_dpbusd(3, 6, 7);
      _tile_dpbusd(4, 6, 7);
      _tile_dpbusd(5, 6, 7);
    } else {
      _tile_dpbf16ps(0, 6, 7);
      _tile_dpbf16ps(1, 6, 7);
      _tile_dpbf16ps(2, 6, 7);
      _tile_dpbf16ps(3, 6, 7);
      _tile_dpbf16ps(4, 6, 7);
      _tile_dpbf16ps(5, 6, 7);
    }
  }
  _tile_release();
  return 2.0 * 6 * 16 * 16 * (kIntegers ? 64 : 32) * static_cast<double>(fewer);
}
#endif

Products products_of(Precision precision) {
  const bool integers = precision == Precision::int8;
  if (precision == Precision::f32) return &HWY_DYNAMIC_DISPATCH(add_floats);
  const bool one_instruction = active_isa() != Isa::avx2 || has_feature("avx_vnni");
  if (!tiles_multiply(precision) || !one_instruction)
    return integers ? &HWY_DYNAMIC_DISPATCH(add_bytes) : &HWY_DYNAMIC_DISPATCH(add_floats);
#if BLIP_HAS_AVX512
  if (in_amx(precision)) return integers ? add_tiles<true> : add_tiles<false>;
#endif
  return integers ? &HWY_DYNAMIC_DISPATCH(add_fours_of_bytes)
                  : &HWY_DYNAMIC_DISPATCH(add_pairs_of_bf16);
}

/// Shortest of a few runs, seconds, after one that is not counted.
template <class Work>
double shortest(int runs, const Work& work) {
  using Clock = std::chrono::steady_clock;
  work();
  double best = 1e30;
  for (int run = 0; run < runs; ++run) {
    const auto start = Clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

}  // namespace

double measured_operations(Precision precision, const Context& context) {
  const ThreadScope threads(context);
  active_isa();  // chooses among what follows
  const Products products = products_of(precision);
  // Milliseconds each: some of them are not interrupted.
  constexpr std::size_t kRounds = 200000;
  constexpr int kRuns = 20;
  double operations = 0;
  const double seconds = shortest(kRuns, [&] {
    double done = 0;
#pragma omp parallel reduction(+ : done)
    done += products(kRounds);
    operations = done;
  });
  return operations / seconds;
}

double measured_bandwidth(const Context& context) {
  const ThreadScope threads(context);
  constexpr std::size_t kWords = std::size_t{48} << 20;  // 384 MB: more than any cache
  const std::vector<std::uint64_t> words(kWords, 1);
  std::uint64_t total = 0;
  const double seconds = shortest(5, [&] {
    std::uint64_t sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum)
    for (std::size_t i = 0; i < kWords; ++i) sum += words[i];
    total += sum;
  });
  // The sum is used, so that the reading is not left out.
  return total == 0 ? 0 : static_cast<double>(kWords * sizeof(std::uint64_t)) / seconds;
}

}  // namespace blip
#endif
