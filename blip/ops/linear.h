#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "blip/base/tensor.h"
#include "blip/ops/elementwise.h"
#include "blip/ops/matmul.h"
#include "blip/ops/weight_matrix.h"

namespace blip {

class Linear;

/// One of several layers' outputs.
struct LinearOutput {
  const Linear* linear;
  float* y;  ///< [rows, linear->out_features()]
};

/// Finished values of a layer: y[first + r, columns.begin + c] = values[r * stride + c].
struct LinearBlock {
  std::size_t first;
  std::size_t rows;
  ColumnRange columns;
  const float* values;
  std::size_t stride;
};

/// y = x W^T + b, with what follows it fused, in the precision of its weights. Immutable; weights
/// stay where the checkpoint has them.
class Linear {
 public:
  Linear() = default;
  /// `bias` [out] or empty.
  Linear(WeightMatrix weight, Weight bias);

  std::size_t in_features() const { return weight_.in; }
  std::size_t out_features() const { return weight_.out; }
  const WeightMatrix& weight() const { return weight_; }

  /// x [rows, in] -> y [rows, out]. `residual` [rows, out] is added last; it may not overlap `y`.
  /// Made for texts: reads each weight once for few rows, and x keeps at least 12 bits; a row's
  /// result is the same bits whatever rows stand beside it.
  void forward(const float* x, std::size_t rows, float* y,
               Epilogue::Activation activation = Epilogue::Activation::none,
               const float* residual = nullptr) const;

  /// forward() of several layers from the same x, without what a parallel region for each would
  /// cost.
  static void forward_each(const float* x, std::size_t rows, std::span<const LinearOutput> outputs);

  /// The same in tiles (tiles.h) or by oneDNN, made for the hundreds of tokens of a picture. With
  /// int8 weights each row of x is quantised; with bf16 weights it is rounded where the CPU
  /// multiplies bf16. With `norm` the rows are normalised first.
  void forward_many(const float* x, std::size_t rows, float* y,
                    Epilogue::Activation activation = Epilogue::Activation::none,
                    const float* residual = nullptr,
                    const LayerNormParameters* norm = nullptr) const;

  /// The same, rounded to bf16. Only where tiles_multiply(Precision::bf16).
  void forward_many_bf16(const float* x, std::size_t rows, std::uint16_t* y,
                         Epilogue::Activation activation, const LayerNormParameters* norm) const;

  /// forward_many() of several layers from the same x, which is laid out once for them. Each block
  /// is given to take(layer's index, block) as soon as it is finished, on any thread.
  static void forward_many_each(const float* x, std::size_t rows,
                                std::span<const Linear* const> layers,
                                const std::function<void(std::size_t, const LinearBlock&)>& take);

  /// second(gelu(first(norm(x)))) + residual by forward_many(), x [rows, first.in] -> y [rows,
  /// second.out]. `residual` may be `x`. `scratch` grows to what is needed and can be given again.
  static void forward_mlp(const Linear& first, const Linear& second,
                          const LayerNormParameters& norm, const float* x, std::size_t rows,
                          float* y, const float* residual, FloatBuffer& scratch);

 private:
  /// gelu is as exact as the weights ask for.
  Epilogue many_epilogue(Epilogue::Activation activation, const float* residual) const;
  void many_f32(const float* x, const Epilogue& epilogue, const OutputBlock& block) const;
  void many_bf16(const float* x, const Epilogue& epilogue, const OutputBlock& all) const;
  void many_int8(const float* x, const Epilogue& epilogue, const OutputBlock& all) const;

  WeightMatrix weight_;
  Weight bias_;
};

}  // namespace blip
