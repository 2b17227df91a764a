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

  /// x [rows, in] -> y [rows, out]. `residual` [rows, out] is added last; it may not overlap `y`.
  /// Made for texts: reads each weight once for few rows, and a row's result is the same bits
  /// whatever rows stand beside it.
  void forward(const float* x, std::size_t rows, float* y,
               Epilogue::Activation activation = Epilogue::Activation::none,
               const float* residual = nullptr) const;

  /// The same by oneDNN, made for the hundreds of tokens of a picture.
  void forward_many(const float* x, std::size_t rows, float* y,
                    Epilogue::Activation activation = Epilogue::Activation::none,
                    const float* residual = nullptr) const;

 private:
  /// The epilogue over whole rows, in parallel.
  void finish_rows(const Epilogue& epilogue, std::size_t rows, float* y) const;

  Weight weight_;
  Weight bias_;
  std::size_t in_ = 0;
  std::size_t out_ = 0;
};

}  // namespace blip
