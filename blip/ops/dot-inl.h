// Products of a few rows with many columns as dot products, for the kernel files: compiled once per
// instruction set (Highway's -inl convention), hence the toggled guard.
#ifndef BLIP_OPS_DOT_PRODUCT
#define BLIP_OPS_DOT_PRODUCT
#include <cstddef>

namespace blip {

/// Columns [begin, end) of a product of `rows` rows of length `in`; each column is as long and lies
/// after the one before.
struct Product {
  std::size_t rows;
  std::size_t in;
  std::size_t begin;
  std::size_t end;
  std::size_t x_stride;
  std::size_t y_stride;
};

}  // namespace blip
#endif

#if defined(BLIP_OPS_DOT_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef BLIP_OPS_DOT_INL_H
#undef BLIP_OPS_DOT_INL_H
#else
#define BLIP_OPS_DOT_INL_H
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

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
HWY_INLINE float widen(float w) {
  return w;
}
HWY_INLINE float widen(std::uint16_t w) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(w) << 16);
}

/// sum += a * b.
HWY_INLINE void multiply_add(FloatVector a, FloatVector b, FloatVector& sum) {
  sum = hn::MulAdd(a, b, sum);
}

#undef BLIP_DOT_PAIRS
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
#define BLIP_DOT_PAIRS 1
// For rows of bf16 as their weights are: in pairs, by AVX512_BF16, which no target of Highway 1.0
// asks the CPU for.
using Halves = hn::ScalableTag<std::uint16_t>;
using HalfVector = hn::Vec<Halves>;

HWY_INLINE HalfVector load(Halves d, const std::uint16_t* w) {
  return hn::LoadU(d, w);
}
HWY_INLINE void multiply_add(HalfVector a, HalfVector b, FloatVector& sum) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
}
#endif

/// Asks for the weights that come 8 KB after those of step `k` of a tile, `bytes` of them: columns
/// are too short for the CPU to see far enough ahead by itself.
template <class W>
HWY_INLINE void prefetch_ahead(const W* tile, std::size_t k, std::size_t columns,
                               std::size_t bytes) {
  constexpr std::size_t kAhead = 8192, kLine = 64;
  const char* from = reinterpret_cast<const char*>(tile + k * columns) + kAhead;
  for (std::size_t line = 0; line < bytes; line += kLine) hwy::Prefetch(from + line);
}

/// Calls f with 0, 1 ... as constants: GCC keeps arrays of vectors in registers only where every
/// index is one, and the functions that use them are all inlined.
template <std::size_t kCount, class F>
HWY_INLINE void for_constants(F f) {
  [&]<std::size_t... kIndex>(std::index_sequence<kIndex...>) __attribute__((always_inline)) {
    (f(std::integral_constant<std::size_t, kIndex>()), ...);
  }
  (std::make_index_sequence<kCount>());
}

/// Says that `v` lies in a register. Else GCC reads what several multiply-adds share from memory
/// for each of them.
template <class V>
HWY_INLINE void keep_in_register([[maybe_unused]] V& v) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
  asm("" : "+v"(v.raw));
#endif
}

/// Copies as many floats as make a Word. GCC does not see through it: of stores a stride apart it
/// would make a scatter, which takes tens of cycles.
template <class Word>
HWY_INLINE void copy_word(const float* from, float* to) {
  Word word;
  std::memcpy(&word, from, sizeof(word));
  asm("" : "+r"(word));
  std::memcpy(to, &word, sizeof(word));
}

/// The sums of the lanes of four vectors at once, in an order that does not depend on their places.
template <class V>
HWY_INLINE void sums_of_lanes(const V (&v)[4], float* sums) {
  [[maybe_unused]] const hn::DFromV<V> d;
  using T [[maybe_unused]] = hn::TFromV<V>;
#if HWY_TARGET == HWY_SCALAR
  for (std::size_t i = 0; i < 4; ++i) sums[i] = static_cast<float>(hn::GetLane(v[i]));
#else
  const hn::Repartition<std::uint64_t, decltype(d)> pairs;
  const auto half = [&](const V& a, const V& b) {
    return hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
  };
  const auto low = hn::BitCast(pairs, half(v[0], v[1])),
             high = hn::BitCast(pairs, half(v[2], v[3]));
  const V blocks = hn::Add(hn::BitCast(d, hn::InterleaveLower(pairs, low, high)),
                           hn::BitCast(d, hn::InterleaveUpper(pairs, low, high)));
  HWY_ALIGN T parts[HWY_MAX_BYTES / sizeof(T)];
  hn::Store(blocks, d, parts);
  const hn::FixedTag<T, 4> four;
  auto sum = hn::Load(four, parts);
  for (std::size_t block = 4; block < hn::Lanes(d); block += 4) {
    sum = hn::Add(sum, hn::Load(four, parts + block));
  }
  const hn::FixedTag<float, 4> floats;
  if constexpr (std::is_same_v<T, float>) {
    hn::Store(sum, floats, sums);
  } else {
    hn::Store(hn::ConvertTo(floats, sum), floats, sums);
  }
#endif
}

/// The same for a tile: y[r * y_stride + c] = sum of sums[r][c].
template <std::size_t kRows, std::size_t kColumns, class V>
HWY_INLINE void store_sums(const V (&sums)[kRows][kColumns], std::size_t y_stride, float* y) {
  constexpr std::size_t kCount = kRows * kColumns;
  for_constants<(kCount + 3) / 4>([&](auto group) __attribute__((always_inline)) {
    constexpr std::size_t first = group() * 4, last = kRows * kColumns - 1;
    constexpr std::size_t a = first, b = std::min(first + 1, last), c = std::min(first + 2, last),
                          d = std::min(first + 3, last);
    const V four[4] = {sums[a / kColumns][a % kColumns], sums[b / kColumns][b % kColumns],
                       sums[c / kColumns][c % kColumns], sums[d / kColumns][d % kColumns]};
    HWY_ALIGN float found[4];
    sums_of_lanes(four, found);
    // Neighbours in a row go together where rows are of such a length.
    constexpr std::size_t kTogether = kColumns % 2 == 0 ? 2 : 1;
    using Word = std::conditional_t<kTogether == 2, std::uint64_t, std::uint32_t>;
    for (std::size_t i = 0; i < 4 && first + i <= last; i += kTogether) {
      const std::size_t at = first + i;
      copy_word<Word>(found + i, y + at / kColumns * y_stride + at % kColumns);
    }
  });
}

/// kRows x kColumns dot products of length `in` at once: enough independent sums to hide the
/// latency of the multiply-add, and each vector loaded serves several of them. Every sum runs over
/// k in the same order whatever the tile, so that a row's result does not depend on its neighbours.
template <std::size_t kRows, std::size_t kColumns, class X, class W>
void dot_tile(const X* x, const W* w, const Product& p, float* y) {
  const hn::ScalableTag<X> d;
  using Vector = hn::Vec<decltype(d)>;
  const std::size_t in = p.in;
  const std::size_t lanes = hn::Lanes(d);
  FloatVector sums[kRows][kColumns];
  for_constants<kRows>([&](auto r) __attribute__((always_inline)) {
    for_constants<kColumns>([&](auto c) __attribute__((always_inline)) {
      sums[r][c] = hn::Zero(Floats());
    });
  });
  std::size_t k = 0;
  for (; k + lanes <= in; k += lanes) {
    prefetch_ahead(w, k, kColumns, kColumns * lanes * sizeof(W));
    Vector weights[kColumns];
    for_constants<kColumns>([&](auto c) __attribute__((always_inline)) {
      weights[c] = load(d, w + c * in + k);
    });
    for_constants<kRows>([&](auto r) __attribute__((always_inline)) {
      Vector v = hn::LoadU(d, x + r * p.x_stride + k);
      keep_in_register(v);
      for_constants<kColumns>([&](auto c) __attribute__((always_inline)) {
        multiply_add(v, weights[c], sums[r][c]);
      });
    });
  }
  store_sums(sums, p.y_stride, y);
  for (; k < in; ++k) {
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t c = 0; c < kColumns; ++c) {
        y[r * p.y_stride + c] += widen(x[r * p.x_stride + k]) * widen(w[c * in + k]);
      }
    }
  }
}

/// low + high += a * b in pairs.
template <class V, class Sum>
HWY_INLINE void add_products(V a, V b, Sum& low, [[maybe_unused]] Sum& high) {
#if HWY_TARGET == HWY_AVX3_DL
  // AVX512_VNNI adds as it multiplies; Highway 1.0 takes two instructions, and does not let the
  // compiler have its intrinsic, though it asks the CPU for it.
  asm("vpdpwssd %2, %1, %0" : "+v"(low.raw) : "v"(a.raw), "v"(b.raw));
#elif HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  // GCC would put the sum into another register, and move it back.
  decltype(low.raw) products;
  asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
      : "+v"(low.raw), "=&v"(products)
      : "v"(a.raw), "v"(b.raw));
#else
  low = hn::ReorderWidenMulAccumulate(hn::DFromV<Sum>(), a, b, low, high);
#endif
}

/// The same for rows of 16-bit and weights of 8-bit integers: exact, until the tail of a length
/// that is no multiple of a vector's.
template <std::size_t kRows, std::size_t kColumns>
void dot_tile(const std::int16_t* x, const std::int8_t* w, const Product& p, float* y) {
  const std::size_t in = p.in;
  const hn::ScalableTag<std::int16_t> d;
  const hn::Rebind<std::int8_t, decltype(d)> bytes;
  const hn::ScalableTag<std::int32_t> wide;
  using Sum = hn::Vec<decltype(wide)>;
  const std::size_t lanes = hn::Lanes(d);
  Sum low[kRows][kColumns], high[kRows][kColumns];  // `high` stays zero on x86
  for_constants<kRows>([&](auto r) __attribute__((always_inline)) {
    for_constants<kColumns>([&](auto c) __attribute__((always_inline)) {
      low[r][c] = high[r][c] = hn::Zero(wide);
    });
  });
  std::size_t k = 0;
  for (; k + lanes <= in; k += lanes) {
    prefetch_ahead(w, k, kColumns, kColumns * lanes);
    hn::Vec<decltype(d)> weights[kColumns];
    for_constants<kColumns>([&](auto c) __attribute__((always_inline)) {
      weights[c] = hn::PromoteTo(d, hn::LoadU(bytes, w + c * in + k));
    });
    for_constants<kRows>([&](auto r) __attribute__((always_inline)) {
      auto v = hn::LoadU(d, x + r * p.x_stride + k);
      keep_in_register(v);
      for_constants<kColumns>([&](auto c) __attribute__((always_inline)) {
        add_products(v, weights[c], low[r][c], high[r][c]);
      });
    });
  }
#if !HWY_ARCH_X86
  for_constants<kRows>([&](auto r) __attribute__((always_inline)) {
    for_constants<kColumns>([&](auto c) __attribute__((always_inline)) {
      low[r][c] = hn::Add(low[r][c], high[r][c]);
    });
  });
#endif
  store_sums(low, p.y_stride, y);
  for (; k < in; ++k) {
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t c = 0; c < kColumns; ++c) {
        y[r * p.y_stride + c] += static_cast<float>(x[r * p.x_stride + k] * w[c * in + k]);
      }
    }
  }
}

/// Columns [begin, end) for kRows rows.
template <std::size_t kRows, std::size_t kColumns, class X, class W>
void dot_columns(const X* x, const W* w, const Product& p, float* y) {
  std::size_t n = p.begin;
  for (; n + kColumns <= p.end; n += kColumns) {
    dot_tile<kRows, kColumns>(x, w + n * p.in, p, y + n);
  }
  for (; n < p.end; ++n) dot_tile<kRows, 1>(x, w + n * p.in, p, y + n);
}

/// y[r, n] = x[r, :] . w[n, :] for columns [begin, end) of all rows.
template <class X, class W>
void dot_rows(const X* x, const W* w, const Product& p, float* y) {
  // Columns less than would fill the registers leave room for the widened weights.
  constexpr bool kWidens = sizeof(W) < sizeof(X);
  constexpr std::size_t kColumnsOfOne = kWidens ? 6 : 8;
  std::size_t r = 0;
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  // Twice the registers: beams read their weights once for eight.
  for (; r + 8 <= p.rows; r += 8) dot_columns<8, 3>(x + r * p.x_stride, w, p, y + r * p.y_stride);
  constexpr std::size_t kColumnsOfFour = 4;
#else
  // Products of integers take a register of their own before they are added.
  constexpr std::size_t kColumnsOfFour = sizeof(W) == 1 ? 2 : 3;
#endif
  for (; r + 4 <= p.rows; r += 4) {
    dot_columns<4, kColumnsOfFour>(x + r * p.x_stride, w, p, y + r * p.y_stride);
  }
  const X* rest = x + r * p.x_stride;
  float* target = y + r * p.y_stride;
  switch (p.rows - r) {
    case 3:
      return dot_columns<3, 3>(rest, w, p, target);
    case 2:
      return dot_columns<2, 4>(rest, w, p, target);
    case 1:
      return dot_columns<1, kColumnsOfOne>(rest, w, p, target);
    default:
      return;
  }
}

}  // namespace blip::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
