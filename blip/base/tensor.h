#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace blip {

/// Sizes of a row-major tensor, outermost first. Empty for a scalar.
using Shape = std::vector<std::int64_t>;

/// "[3, 64, 64]"
std::string to_string(const Shape& shape);

/// Product of the sizes; 1 for a scalar. The shape must be one whose product was checked already.
std::size_t element_count(const Shape& shape);

/// Element types that checkpoints hold.
enum class DType { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

std::size_t size_of(DType type) noexcept;
/// As safetensors spell it: "F32", "BF16", ...
std::string_view name(DType type) noexcept;

/// A tensor as a file stores it: contiguous, row-major, little-endian bytes of any alignment.
struct StoredTensor {
  DType dtype = DType::f32;
  Shape shape;
  std::span<const std::byte> bytes;        ///< element_count(shape) * size_of(dtype)
  std::shared_ptr<const void> keep_alive;  ///< owner of `bytes`, such as a MappedFile
};

/// Value of element `i` of a stored tensor of any floating-point type as f32 (round to nearest
/// where it was wider).
std::vector<float> to_f32(const StoredTensor& tensor);

/// Uninitialised f32 memory, aligned for vector loads. Move-only.
class FloatBuffer {
 public:
  FloatBuffer() = default;
  explicit FloatBuffer(std::size_t size);

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  std::size_t size() const { return size_; }
  std::span<float> span() { return {data(), size_}; }
  std::span<const float> span() const { return {data(), size_}; }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float[], Free> data_;
  std::size_t size_ = 0;
};

/// A mutable f32 tensor that owns its memory: activations and results. Move-only, uninitialised.
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(Shape shape) : shape_(std::move(shape)), buffer_(element_count(shape_)) {}

  const Shape& shape() const { return shape_; }
  std::int64_t dim(std::size_t axis) const { return shape_.at(axis); }
  std::size_t size() const { return buffer_.size(); }
  float* data() { return buffer_.data(); }
  const float* data() const { return buffer_.data(); }
  std::span<float> span() { return buffer_.span(); }
  std::span<const float> span() const { return buffer_.span(); }
  /// The `i`-th slice along the first axis, such as one picture of a batch.
  std::span<float> operator[](std::size_t i) {
    const std::size_t stride = size() / static_cast<std::size_t>(shape_.at(0));
    return span().subspan(i * stride, stride);
  }
  std::span<const float> operator[](std::size_t i) const {
    const std::size_t stride = size() / static_cast<std::size_t>(shape_.at(0));
    return span().subspan(i * stride, stride);
  }

 private:
  Shape shape_;
  FloatBuffer buffer_;
};

/// Immutable f32 parameters: a view of a mapped checkpoint, or memory of its own where the file
/// holds another type. Cheap to copy; copies share the memory.
class Weight {
 public:
  Weight() = default;
  Weight(Shape shape, const float* data, std::shared_ptr<const void> keep_alive)
      : shape_(std::move(shape)), data_(data), keep_alive_(std::move(keep_alive)) {}

  bool empty() const { return data_ == nullptr; }
  const Shape& shape() const { return shape_; }
  std::int64_t dim(std::size_t axis) const { return shape_.at(axis); }
  const float* data() const { return data_; }
  std::size_t size() const { return data_ == nullptr ? 0 : element_count(shape_); }
  std::span<const float> span() const { return {data_, size()}; }

 private:
  Shape shape_;
  const float* data_ = nullptr;
  std::shared_ptr<const void> keep_alive_;
};

}  // namespace blip
