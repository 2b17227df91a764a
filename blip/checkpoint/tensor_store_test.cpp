#include "blip/checkpoint/tensor_store.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "blip/base/error.h"

namespace blip {
namespace {

template <class T>
StoredTensor stored(DType dtype, Shape shape, const T& values) {
  return {dtype, std::move(shape), std::as_bytes(std::span(values)), nullptr};
}

std::vector<float> values_of(const Weight& weight) {
  return {weight.span().begin(), weight.span().end()};
}

std::string message_of(const TensorStore& store, std::string_view name, const Shape& expected,
                       ErrorCode code) {
  try {
    store.weight(name, expected);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code);
    return e.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TEST(ByteCount, RefusesNegativeAndOverflowingShapes) {
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(byte_count(DType::f32, {}), 4u);
  EXPECT_EQ(byte_count(DType::f16, {3, 5}), 30u);
  EXPECT_EQ(byte_count(DType::f16, {3, 0}), 0u);
  EXPECT_EQ(byte_count(DType::u8, {-1}), std::nullopt);
  EXPECT_EQ(byte_count(DType::f32, {kHuge}), std::nullopt);
  EXPECT_EQ(byte_count(DType::u8, {1ll << 32, 1ll << 32}), std::nullopt);
}

TEST(TensorStore, WeightViewsAlignedF32) {
  const std::array<float, 2> values{1, 2};
  const auto owner = std::make_shared<int>();
  StoredTensor tensor = stored(DType::f32, {2}, values);
  tensor.keep_alive = owner;
  TensorStore store;
  store.add("a", tensor);
  const Weight weight = store.weight("a", {2});
  EXPECT_EQ(weight.data(), values.data());
  EXPECT_GT(owner.use_count(), 3);  // kept alive by the weight too
}

TEST(TensorStore, WeightConvertsWhatItCannotView) {
  const std::array<std::uint16_t, 2> halves{0x3c00, 0xc000};
  alignas(4) std::array<std::byte, 5> unaligned{};
  const float value = 3.5f;
  std::memcpy(unaligned.data() + 1, &value, sizeof value);
  TensorStore store;
  store.add("half", stored(DType::f16, {1, 2}, halves));
  store.add("unaligned", {DType::f32, {1}, std::span(unaligned).subspan(1), nullptr});
  EXPECT_EQ(values_of(store.weight("half", {-1, 2})), (std::vector<float>{1, -2}));
  EXPECT_EQ(values_of(store.weight("unaligned", {1})), (std::vector<float>{3.5f}));
}

TEST(TensorStore, ErrorsNameTensorShapesAndOrigin) {
  const std::array<float, 6> floats{};
  const std::array<std::int32_t, 2> ints{};
  TensorStore store;
  store.set_origin("some/model.pth");
  store.add("w", stored(DType::f32, {2, 3}, floats));
  store.add("i", stored(DType::i32, {2}, ints));
  store.add_unreadable("f8", "F8_E4M3");
  EXPECT_EQ(message_of(store, "v", {2}, ErrorCode::bad_model),
            "tensor \"v\" is missing from some/model.pth");
  EXPECT_EQ(message_of(store, "w", {-1, 4}, ErrorCode::bad_model),
            "tensor \"w\" of some/model.pth has the shape [2, 3]; expected [*, 4]");
  EXPECT_EQ(message_of(store, "w", {6}, ErrorCode::bad_model),
            "tensor \"w\" of some/model.pth has the shape [2, 3]; expected [6]");
  EXPECT_EQ(message_of(store, "i", {2}, ErrorCode::bad_model),
            "tensor \"i\" of some/model.pth holds I32; expected floating-point values");
  EXPECT_NE(message_of(store, "f8", {2}, ErrorCode::unsupported).find("F8_E4M3"),
            std::string::npos);
}

TEST(TensorStore, RefusesANameTwice) {
  const std::array<float, 1> values{};
  TensorStore store;
  store.add("a", stored(DType::f32, {1}, values));
  EXPECT_THROW(store.add("a", stored(DType::f32, {1}, values)), Error);
  EXPECT_TRUE(store.contains("a"));
  EXPECT_EQ(store.find("b"), nullptr);
}

}  // namespace
}  // namespace blip
