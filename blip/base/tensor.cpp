#include "blip/base/tensor.h"

#include <bit>
#include <cstring>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "blip/base/error.h"

namespace blip {
namespace {

struct TypeInfo {
  DType type;
  std::size_t size;
  std::string_view name;
};

constexpr TypeInfo kTypes[] = {
    {DType::f64, 8, "F64"},      {DType::f32, 4, "F32"}, {DType::f16, 2, "F16"},
    {DType::bf16, 2, "BF16"},    {DType::i64, 8, "I64"}, {DType::i32, 4, "I32"},
    {DType::i16, 2, "I16"},      {DType::i8, 1, "I8"},   {DType::u8, 1, "U8"},
    {DType::boolean, 1, "BOOL"},
};

template <class T>
T load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

float from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

float from_f16(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16;
  std::uint32_t exponent = (bits >> 10) & 0x1fu;
  std::uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // subnormal: exact in f32
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

}  // namespace

FloatBuffer::FloatBuffer(std::size_t size) : size_(size) {
  if (size == 0) return;
  constexpr std::size_t kCacheLine = 64, kHugePage = std::size_t{2} << 20;
  const std::size_t used = size * sizeof(float);
  const std::size_t alignment = used < 2 * kHugePage ? kCacheLine : kHugePage;
  data_.reset(static_cast<float*>(
      std::aligned_alloc(alignment, (used + alignment - 1) / alignment * alignment)));
  if (!data_) throw std::bad_alloc();
#if defined(__linux__)
  // A picture's activations are new memory every time: in pages of 4 KB, taking them from the
  // system costs some hundredths of the time of computing them. Refused, nothing is lost.
  if (alignment == kHugePage) madvise(data_.get(), used / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
}

std::string to_string(const Shape& shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) out += ", ";
    out += std::to_string(shape[i]);
  }
  return out + "]";
}

std::size_t element_count(const Shape& shape) {
  std::size_t count = 1;
  for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
  return count;
}

std::size_t size_of(DType type) noexcept {
  return kTypes[static_cast<std::size_t>(type)].size;
}

std::string_view name(DType type) noexcept {
  return kTypes[static_cast<std::size_t>(type)].name;
}

std::vector<float> to_f32(const StoredTensor& tensor) {
  std::vector<float> out(element_count(tensor.shape));
  const std::byte* p = tensor.bytes.data();
  switch (tensor.dtype) {
    case DType::f32:
      if (!out.empty()) std::memcpy(out.data(), p, out.size() * sizeof(float));
      return out;
    case DType::f64:
      for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = static_cast<float>(load<double>(p + 8 * i));
      return out;
    case DType::f16:
      for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = from_f16(load<std::uint16_t>(p + 2 * i));
      return out;
    case DType::bf16:
      for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = from_bf16(load<std::uint16_t>(p + 2 * i));
      return out;
    default:
      throw Error(ErrorCode::bad_model,
                  "expected a floating-point tensor, found " + std::string(name(tensor.dtype)));
  }
}

}  // namespace blip
