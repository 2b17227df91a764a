#pragma once

#include <cstddef>
#include <cstdint>

#include "blip/ops/quantize.h"

namespace blip {

/// Applied to each output row of a linear layer while it is still in cache.
struct Epilogue {
  enum class Activation { none, gelu };

  const float* bias = nullptr;  ///< one value per output column, or none
  Activation activation = Activation::none;
  const float* residual = nullptr;  ///< same layout as the output, added last
  bool coarse = false;  ///< gelu to 2e-4, in half the time: for what is rounded or quantised next

  bool does_nothing() const {
    return bias == nullptr && activation == Activation::none && residual == nullptr;
  }
};

/// Columns [begin, end) of `rows` rows of length `stride`.
struct OutputBlock {
  float* y;
  std::size_t rows;
  std::size_t stride;
  std::size_t begin;
  std::size_t end;
};

/// y[r, c] = activation(y[r, c] + bias[c]) + residual[r, c]. Serial.
void apply_epilogue(const Epilogue& epilogue, const OutputBlock& block);
/// The same from `sums` [rows, end - begin], whose rows are `sums_stride` apart. Not for
/// Isa::reference.
void apply_epilogue(const Epilogue& epilogue, const float* sums, std::size_t sums_stride,
                    const OutputBlock& block);

/// Exact sums [rows, end - begin] of a product of quantised rows and int8 weights.
struct IntegerSums {
  const std::int32_t* sums;
  std::size_t stride;               ///< from one row of sums to the next
  const RowScale* rows;             ///< of the quantised rows
  const float* column_scales;       ///< [out], of the weights
  const std::int32_t* column_sums;  ///< [out], of the weights
};

/// y[r, c] = activation((sums[r, c] - zero_point[r] * column_sum[c]) * scale[r] * column_scale[c] +
/// bias[c]) + residual[r, c]. Serial.
void apply_epilogue(const Epilogue& epilogue, const IntegerSums& sums, const OutputBlock& block);

/// Parameters of a layer normalisation over `width` values.
struct LayerNormParameters {
  const float* gamma = nullptr;
  const float* beta = nullptr;
  std::size_t width = 0;
  float eps = 0;
};

/// y = LayerNorm(x) row by row; `y` may be `x`. Parallel over rows.
void layer_norm(const LayerNormParameters& parameters, const float* x, std::size_t rows, float* y);

/// In place: softmax(x * scale) of `rows` rows of `width` values, `stride` apart. Serial.
void softmax(float* x, std::size_t rows, std::size_t width, std::size_t stride, float scale);

}  // namespace blip
