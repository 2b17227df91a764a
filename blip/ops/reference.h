#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "blip/ops/lookup.h"
#include "blip/ops/weight_matrix.h"

/// The operations of the model, written as their definitions: no vectors, no blocking, no threads.
/// Every fast kernel is tested against these, and BLIP_ISA=reference runs the whole engine on them.
namespace blip::reference {

/// y[r, n] = sum_k x[r, k] * w[n, k], accumulated in double.
inline void linear(const float* x, const float* w, std::size_t rows, std::size_t out,
                   std::size_t in, float* y) {
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t n = 0; n < out; ++n) {
      double sum = 0;
      for (std::size_t k = 0; k < in; ++k) sum += double{x[r * in + k]} * double{w[n * in + k]};
      y[r * out + n] = static_cast<float>(sum);
    }
  }
}

/// A matrix of any precision as f32 [out, in], smoothing left aside.
inline std::vector<float> widened(const WeightMatrix& w) {
  std::vector<float> values(w.out * w.in);
  for (std::size_t i = 0; i < values.size(); ++i) {
    switch (w.precision) {
      case Precision::f32:
        values[i] = w.f32()[i];
        break;
      case Precision::bf16:
        values[i] = std::bit_cast<float>(static_cast<std::uint32_t>(w.bf16()[i]) << 16);
        break;
      case Precision::int8:
        values[i] = static_cast<float>(w.int8()[i]) * w.scales.data()[i / w.in];
        break;
    }
  }
  return values;
}

/// sums[r, n] = sum_k q[r, k] * w[n, k]
inline void matmul_int8(const std::uint8_t* q, const std::int8_t* w, std::size_t rows,
                        std::size_t out, std::size_t in, std::int32_t* sums) {
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t n = 0; n < out; ++n) {
      std::int32_t sum = 0;
      for (std::size_t k = 0; k < in; ++k) sum += q[r * in + k] * w[n * in + k];
      sums[r * out + n] = sum;
    }
  }
}

/// The exact GELU: x * Phi(x).
inline float gelu(float x) {
  return static_cast<float>(0.5 * double{x} * (1.0 + std::erf(double{x} * 0.70710678118654752440)));
}

/// y = (x - mean) / sqrt(variance + eps) * gamma + beta over one row of `width`.
inline void layer_norm(const float* x, std::size_t width, const float* gamma, const float* beta,
                       float eps, float* y) {
  double mean = 0;
  for (std::size_t i = 0; i < width; ++i) mean += double{x[i]};
  mean /= static_cast<double>(width);
  double variance = 0;
  for (std::size_t i = 0; i < width; ++i) variance += (double{x[i]} - mean) * (double{x[i]} - mean);
  variance /= static_cast<double>(width);
  const double scale = 1.0 / std::sqrt(variance + double{eps});
  for (std::size_t i = 0; i < width; ++i) {
    y[i] = static_cast<float>((double{x[i]} - mean) * scale * double{gamma[i]} + double{beta[i]});
  }
}

/// In place: exp(x * scale) / sum over one row.
inline void softmax(float* x, std::size_t width, float scale) {
  double top = -std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < width; ++i) top = std::fmax(top, double{x[i]} * double{scale});
  double sum = 0;
  for (std::size_t i = 0; i < width; ++i) sum += std::exp(double{x[i]} * double{scale} - top);
  for (std::size_t i = 0; i < width; ++i) {
    x[i] = static_cast<float>(std::exp(double{x[i]} * double{scale} - top) / sum);
  }
}

/// code_product()
inline std::int32_t code_product(const std::int16_t* a, const std::int8_t* b, std::size_t size) {
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < size; ++i) sum += a[i] * b[i];
  return sum;
}

/// lookup_sums()
inline void lookup_sums(const std::uint8_t* blocks, std::size_t count, const std::uint8_t* tables,
                        std::size_t groups, std::uint16_t* sums) {
  std::fill_n(sums, count * kLookupRows, std::uint16_t{0});
  for (std::size_t b = 0; b < count; ++b) {
    for (std::size_t g = 0; g < groups; ++g) {
      const std::uint8_t* group = blocks + (b * groups + g) * kLookupBytes;
      for (std::size_t r = 0; r < kLookupRows; ++r) {
        const int number = r < kLookupBytes ? group[r] & 0x0f : group[r - kLookupBytes] >> 4;
        sums[b * kLookupRows + r] += tables[g * kLookupBytes + static_cast<std::size_t>(number)];
      }
    }
  }
}

}  // namespace blip::reference
