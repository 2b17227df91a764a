#include "blip/model/parameters.h"

#include <cstdint>
#include <memory>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/checkpoint/weight_files.h"
#include "blip/ops/tiles.h"

namespace blip {
namespace {

std::string panels_of(const std::string& name) {
  return name + std::string(kWeightPanels);
}

bool aligned_for_bf16(const StoredTensor& tensor) {
  return reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % alignof(std::uint16_t) == 0;
}

}  // namespace

Precision choose_precision(const TensorStore& tensors, std::optional<Precision> wanted) {
  // All layers of a checkpoint are stored as this one.
  const std::string layer = "vision_model.encoder.layers.0.self_attn.qkv";
  const StoredTensor* stored = tensors.find(layer + ".weight");
  if (stored == nullptr) stored = tensors.find(panels_of(layer));
  const DType dtype = stored == nullptr ? DType::f32 : stored->dtype;
  if (dtype == DType::i8) {
    if (wanted.value_or(Precision::int8) != Precision::int8) {
      throw Error(ErrorCode::usage, "the checkpoint holds int8 weights and cannot run in " +
                                        std::string(name(*wanted)));
    }
    return Precision::int8;
  }
  if (wanted) return *wanted;
  const bool bf16 = dtype == DType::bf16 || tiles_multiply(Precision::bf16);
  return bf16 ? Precision::bf16 : Precision::f32;
}

WeightMatrix Parameters::matrix(const std::string& name, int out, int in,
                                const std::string& tied) const {
  const bool own = tied.empty() || contains(name + ".weight");
  WeightMatrix matrix = read_matrix(own ? name : tied, {out, in});
  if (observer_) observer_(name, matrix, MatrixUse::texts);
  return matrix;
}

Linear Parameters::picture_linear(const std::string& name, int out, int in) const {
  WeightMatrix matrix =
      contains(panels_of(name)) ? read_panels(name, {out, in}) : read_matrix(name, {out, in});
  if (observer_) observer_(name, matrix, MatrixUse::pictures);
  if (!fits_tiles(matrix)) matrix = row_major(matrix);
  return Linear(std::move(matrix), weight(name + ".bias", {out}));
}

WeightMatrix Parameters::read_int8(const std::string& name, const StoredTensor& values) const {
  const std::string key = name + ".weight";
  const Shape rows = {values.shape[0]}, columns = {values.shape[1]};
  Int8Parameters int8{weight(key + "_scale", rows), weight(key + "_sum", rows), {}};
  if (contains(name + ".smoothing")) int8.smoothing = weight(name + ".smoothing", columns);
  return int8_matrix(values, int8);
}

WeightMatrix Parameters::read_panels(const std::string& name, const Shape& shape) const {
  const std::string key = panels_of(name);
  const StoredTensor& stored = tensors_.tensor(key, shape);
  WeightMatrix matrix;
  if (stored.dtype == DType::i8) {
    matrix = read_int8(name, stored);
  } else if (stored.dtype == DType::bf16) {
    matrix = bf16_matrix(stored);
  } else if (stored.dtype == DType::f32) {
    matrix = to_matrix(weight(key, shape));
  }
  if (matrix.data == nullptr || !fills_panels(matrix)) {
    throw Error(ErrorCode::bad_model, "tensor " + in_quotes(key) + " cannot be panels of " +
                                          std::string(blip::name(stored.dtype)) + " " +
                                          to_string(shape));
  }
  matrix.panels = true;
  if (matrix.precision == precision_ || matrix.precision == Precision::int8) return matrix;
  auto values = std::make_shared<std::vector<float>>(matrix.out * matrix.in);
  for (std::size_t i = 0; i < matrix.out; ++i) matrix.copy_row(i, values->data() + i * matrix.in);
  return rounded(Weight(shape, values->data(), values));
}

WeightMatrix Parameters::rounded(const Weight& values) const {
  switch (precision_) {
    case Precision::f32:
      break;
    case Precision::bf16:
      return to_bf16(values);
    case Precision::int8:
      return to_int8(values, {});
  }
  return to_matrix(values);
}

WeightMatrix Parameters::read_matrix(const std::string& name, const Shape& shape) const {
  const std::string key = name + ".weight";
  const StoredTensor* stored = tensors_.find(key);
  if (stored != nullptr && stored->dtype == DType::i8) {
    return read_int8(name, tensors_.tensor(key, shape));
  }
  if (precision_ == Precision::bf16 && stored != nullptr && stored->dtype == DType::bf16 &&
      aligned_for_bf16(*stored)) {
    return bf16_matrix(tensors_.tensor(key, shape));
  }
  WeightMatrix matrix = rounded(weight(key, shape));
  if (matrix.precision != Precision::f32) MappedFile::give_back(stored->bytes);
  return matrix;
}

WeightMatrix Parameters::embedding(const std::string& name, int rows, int width) const {
  const std::string key = name + ".weight";
  const StoredTensor* stored = tensors_.find(key);
  if (precision_ != Precision::f32 && stored != nullptr && stored->dtype == DType::bf16 &&
      aligned_for_bf16(*stored)) {
    return bf16_matrix(tensors_.tensor(key, {rows, width}));
  }
  return to_matrix(weight(key, {rows, width}));
}

}  // namespace blip
