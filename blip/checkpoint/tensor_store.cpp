#include "blip/checkpoint/tensor_store.h"

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "blip/base/error.h"

namespace blip {
namespace {

bool matches(const Shape& found, const Shape& expected) {
  if (found.size() != expected.size()) return false;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (expected[i] != -1 && expected[i] != found[i]) return false;
  }
  return true;
}

/// An expected shape as a message shows it: "[*, 768]".
std::string pattern(const Shape& expected) {
  std::string out = "[";
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (i > 0) out += ", ";
    out += expected[i] == -1 ? "*" : std::to_string(expected[i]);
  }
  return out + "]";
}

bool is_float(DType dtype) {
  return dtype == DType::f64 || dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

Weight to_weight(const StoredTensor& tensor) {
  const bool aligned = reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % alignof(float) == 0;
  if (tensor.dtype == DType::f32 && aligned) {
    return {tensor.shape, reinterpret_cast<const float*>(tensor.bytes.data()), tensor.keep_alive};
  }
  auto values = std::make_shared<const std::vector<float>>(to_f32(tensor));
  const float* data = values->data();
  return {tensor.shape, data, std::move(values)};
}

}  // namespace

std::optional<std::size_t> byte_count(DType dtype, const Shape& shape) {
  std::size_t bytes = size_of(dtype);
  for (const std::int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, static_cast<std::size_t>(size), &bytes)) {
      return std::nullopt;
    }
  }
  return bytes;
}

void TensorStore::add(std::string name, StoredTensor tensor) {
  const auto [place, added] = tensors_.try_emplace(std::move(name), std::move(tensor));
  if (!added) {
    throw Error(ErrorCode::bad_model,
                "tensor " + in_quotes(place->first) + " appears twice in " + origin_);
  }
}

void TensorStore::add_unreadable(std::string name, std::string type) {
  unreadable_.insert_or_assign(std::move(name), std::move(type));
}

const StoredTensor* TensorStore::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

const StoredTensor& TensorStore::tensor(std::string_view name, const Shape& expected) const {
  const std::string subject = "tensor " + in_quotes(name);
  if (const auto found = unreadable_.find(name); found != unreadable_.end()) {
    throw Error(ErrorCode::unsupported, subject + " of " + origin_ + " has the element type " +
                                            in_quotes(found->second) +
                                            ", which this program does not read");
  }
  const StoredTensor* tensor = find(name);
  if (tensor == nullptr) {
    throw Error(ErrorCode::bad_model, subject + " is missing from " + origin_);
  }
  if (!matches(tensor->shape, expected)) {
    throw Error(ErrorCode::bad_model, subject + " of " + origin_ + " has the shape " +
                                          to_string(tensor->shape) + "; expected " +
                                          pattern(expected));
  }
  return *tensor;
}

Weight TensorStore::weight(std::string_view name, const Shape& expected) const {
  const StoredTensor& values = tensor(name, expected);
  if (!is_float(values.dtype)) {
    throw Error(ErrorCode::bad_model, "tensor " + in_quotes(name) + " of " + origin_ + " holds " +
                                          std::string(blip::name(values.dtype)) +
                                          "; expected floating-point values");
  }
  return to_weight(values);
}

}  // namespace blip
