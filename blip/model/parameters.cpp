#include "blip/model/parameters.h"

#include <cstdint>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/ops/tiles.h"

namespace blip {
namespace {

bool aligned_for_bf16(const StoredTensor& tensor) {
  return reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % alignof(std::uint16_t) == 0;
}

}  // namespace

Precision choose_precision(const TensorStore& tensors, std::optional<Precision> wanted) {
  // All layers of a checkpoint are stored as this one.
  const StoredTensor* stored = tensors.find("vision_model.encoder.layers.0.self_attn.qkv.weight");
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
  if (observer_) observer_(name, matrix);
  return matrix;
}

WeightMatrix Parameters::read_matrix(const std::string& name, const Shape& shape) const {
  const std::string key = name + ".weight";
  const StoredTensor* stored = tensors_.find(key);
  if (stored != nullptr && stored->dtype == DType::i8) {
    const Shape rows = {shape[0]}, columns = {shape[1]};
    Int8Parameters int8{weight(key + "_scale", rows), weight(key + "_sum", rows), {}};
    if (contains(name + ".smoothing")) int8.smoothing = weight(name + ".smoothing", columns);
    return int8_matrix(tensors_.tensor(key, shape), int8);
  }
  if (precision_ == Precision::bf16 && stored != nullptr && stored->dtype == DType::bf16 &&
      aligned_for_bf16(*stored)) {
    return bf16_matrix(tensors_.tensor(key, shape));
  }
  const Weight values = weight(key, shape);
  if (precision_ == Precision::f32) return to_matrix(values);
  WeightMatrix matrix = precision_ == Precision::bf16 ? to_bf16(values) : to_int8(values, {});
  MappedFile::give_back(stored->bytes);
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
