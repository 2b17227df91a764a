#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "blip/base/precision.h"
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
    layer_norm(parameters(), x, rows, y);
  }
  LayerNormParameters parameters() const { return {gamma.data(), beta.data(), gamma.size(), eps}; }
};

/// The precision of a checkpoint's linear layers: `wanted`, or where that is nothing the fastest
/// that passes the gate of docs/numerics.md whatever the weights: as they are stored, but bf16
/// for f32 and f16 where the CPU multiplies bf16. Throws Error{usage} for int8 weights that shall
/// be something else.
Precision choose_precision(const TensorStore& tensors, std::optional<Precision> wanted);

/// What a matrix is multiplied with: also the tokens of texts, or always a picture's hundreds.
enum class MatrixUse { texts, pictures };

/// Where a model's parts read their parameters, and in which precision. The matrices of an int8
/// checkpoint are int8 whatever is asked: "<name>.weight" I8 [out, in], "<name>.weight_scale" and
/// "<name>.weight_sum" [out] and, where inputs are smoothed, "<name>.smoothing" [in]. What is for
/// pictures alone may be "<name>.weight_panels" instead, of the same shape, in panels
/// (WeightMatrix).
class Parameters {
 public:
  /// Told of every matrix that follows the precision, with its name. For writing it to a file.
  using Observer =
      std::function<void(const std::string& name, const WeightMatrix& matrix, MatrixUse use)>;

  // Implicit: a checkpoint's tensors are its parameters in f32.
  Parameters(const TensorStore& tensors, Precision precision = Precision::f32,
             Observer observer = {})
      : tensors_(tensors), precision_(precision), observer_(std::move(observer)) {}

  bool contains(const std::string& name) const { return tensors_.contains(name); }
  /// In f32 always. These throw Error{bad_model} naming a tensor that is missing or misshapen.
  Weight weight(const std::string& name, const Shape& shape) const {
    return tensors_.weight(name, shape);
  }
  LayerNorm layer_norm(const std::string& name, int width, float eps) const {
    return {weight(name + ".weight", {width}), weight(name + ".bias", {width}), eps};
  }
  /// "<name>.weight" [out, in] in the precision, "<name>.bias" [out].
  Linear linear(const std::string& name, int out, int in) const {
    return Linear(matrix(name, out, in), weight(name + ".bias", {out}));
  }
  /// The same for what Linear::forward_many() multiplies alone.
  Linear picture_linear(const std::string& name, int out, int in) const;
  /// The same in f32: for heads, which are small and decide.
  Linear head(const std::string& name, int out, int in) const {
    return Linear(to_matrix(weight(name + ".weight", {out, in})), weight(name + ".bias", {out}));
  }
  /// "<name>.weight" [out, in] in the precision. Where the file lacks it, the weights of `tied`.
  WeightMatrix matrix(const std::string& name, int out, int in, const std::string& tied = "") const;
  /// Rows that are looked up, "<name>.weight" [rows, width]: bf16 where the file holds it, else
  /// f32.
  WeightMatrix embedding(const std::string& name, int rows, int width) const;

 private:
  WeightMatrix read_matrix(const std::string& name, const Shape& shape) const;
  WeightMatrix read_panels(const std::string& name, const Shape& shape) const;
  WeightMatrix read_int8(const std::string& name, const StoredTensor& values) const;
  WeightMatrix rounded(const Weight& values) const;

  const TensorStore& tensors_;
  Precision precision_;
  Observer observer_;
};

}  // namespace blip
