#pragma once

#include <cstddef>

#include "blip/base/tensor.h"
#include "blip/ops/elementwise.h"

namespace blip {

/// y = x W^T + b, with what follows it fused. Immutable; weights stay where the checkpoint has
/// them.
class Linear {
 public:
  Linear() = default;
  /// `weight` [out, in]; `bias` [out] or empty.
  Linear(Weight weight, Weight bias);

  std::size_t in_features() const { return in_; }
  std::size_t out_features() const { return out_; }

  /// x [rows, in] -> y [rows, out]. `residual` [rows, out] is added last; it may
  /// not overlap `y`.
  /// Up to kFewRows rows a row's result does not depend on the others (see matmul_few_rows).
  void forward(const float* x, std::size_t rows, float* y,
               Epilogue::Activation activation = Epilogue::Activation::none,
               const float* residual = nullptr) const;

  /// Above this many rows the product goes to oneDNN.
  static constexpr std::size_t kFewRows = 512;

 private:
  /// The epilogue over whole rows, in parallel.
  void finish_rows(const Epilogue& epilogue, std::size_t rows, float* y) const;

  Weight weight_;
  Weight bias_;
  std::size_t in_ = 0;
  std::size_t out_ = 0;
};

}  // namespace blip
