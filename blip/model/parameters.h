#pragma once

#include <string>

#include "blip/base/tensor.h"
#include "blip/checkpoint/tensor_store.h"
#include "blip/ops/elementwise.h"
#include "blip/ops/linear.h"

namespace blip {

/// A layer normalisation with its parameters.
struct LayerNorm {
  Weight gamma;  ///< [width], key "<name>.weight"
  Weight beta;   ///< [width], key "<name>.bias"
  float eps = 0;

  /// y = LayerNorm(x) for `rows` rows; `y` may be `x`.
  void forward(const float* x, std::size_t rows, float* y) const {
    layer_norm({gamma.data(), beta.data(), gamma.size(), eps}, x, rows, y);
  }
};

/// "<name>.weight" [out, in] and "<name>.bias" [out].
inline Linear read_linear(const TensorStore& tensors, const std::string& name, int out, int in) {
  return Linear(tensors.weight(name + ".weight", {out, in}), tensors.weight(name + ".bias", {out}));
}

inline LayerNorm read_layer_norm(const TensorStore& tensors, const std::string& name, int width,
                                 float eps) {
  return {tensors.weight(name + ".weight", {width}), tensors.weight(name + ".bias", {width}), eps};
}

}  // namespace blip
