#include "blip/checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/checkpoint/torch_file_builder_test.h"

namespace blip {
namespace {

using testing::little_endian;
using testing::TemporaryFolder;

std::string file_of(const std::string& header, const std::string& data) {
  return little_endian<std::uint64_t>(header.size()) + header + data;
}

TensorStore read(const std::string& file) {
  TensorStore store;
  read_safetensors(std::as_bytes(std::span(file)), nullptr, "test", store);
  return store;
}

std::string error_of(const std::string& file) {
  try {
    read(file);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::bad_model);
    return e.what();
  }
  return "";
}

void expect_error(const std::string& header, const std::string& part) {
  const std::string error = error_of(file_of(header, std::string(16, '\0')));
  EXPECT_NE(error.find(part), std::string::npos) << header << "\n" << error;
}

TEST(Safetensors, ReadsWhatItsWriterWrites) {
  const std::array<float, 4> floats{1, -2, 3.5f, 0};
  const std::array<std::uint16_t, 1> half{0x3c00};
  const std::array<std::int64_t, 1> wide{-7};
  const TemporaryFolder folder;
  const auto file = folder.path() / "t.safetensors";
  const auto bytes = [](const auto& values) { return std::as_bytes(std::span(values)); };
  write_safetensors(file,
                    {{"half", {DType::f16, {1}, bytes(half), nullptr}},
                     {"floats", {DType::f32, {2, 2}, bytes(floats), nullptr}},
                     {"empty", {DType::f32, {0, 3}, {}, nullptr}},
                     {"wide", {DType::i64, {}, bytes(wide), nullptr}}},
                    {{"format", "pt"}});

  TensorStore store;
  read_safetensors(file, store);
  EXPECT_EQ(store.tensors().size(), 4u);
  const Weight weight = store.weight("floats", {2, 2});
  EXPECT_EQ(std::vector<float>(weight.span().begin(), weight.span().end()),
            std::vector<float>(floats.begin(), floats.end()));
  EXPECT_EQ(weight.data(), reinterpret_cast<const float*>(store.find("floats")->bytes.data()))
      << "wider types come first, so f32 after f16 is still a view";
  EXPECT_EQ(store.find("half")->shape, (Shape{1}));
  EXPECT_EQ(store.find("empty")->shape, (Shape{0, 3}));
  EXPECT_EQ(store.find("wide")->dtype, DType::i64);
  EXPECT_TRUE(store.find("wide")->shape.empty());

  const std::string written = read_file(file, 1 << 16);
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, written.data(), sizeof header_size);
  EXPECT_EQ(header_size % 8, 0u);
}

TEST(Safetensors, KeepsTheMappedFileAlive) {
  Weight weight;
  {
    const TemporaryFolder folder;
    TensorStore store;
    read_safetensors(
        folder.write("t.safetensors",
                     file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}   )",
                             little_endian(2.5f))),
        store);
    weight = store.weight("a", {1});
  }
  EXPECT_EQ(weight.data()[0], 2.5f);
}

TEST(Safetensors, IgnoresMetadataAndKeepsUnknownTypesByName) {
  const TensorStore store = read(file_of(
      R"({"__metadata__":{"format":"pt"},"q":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}})",
      std::string(4, '\0')));
  EXPECT_TRUE(store.tensors().empty());
  EXPECT_THROW(store.weight("q", {4}), Error);
}

TEST(Safetensors, RefusesDamagedHeaders) {
  expect_error("[]", "not a JSON object");
  expect_error("{", "not valid JSON");
  expect_error(std::string(100, '['), "deep");
  expect_error(R"({"a":1})", "is not an object");
  expect_error(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", "no \"dtype\"");
  expect_error(R"({"a":{"dtype":4,"shape":[1],"data_offsets":[0,4]}})", "\"dtype\" that is not");
  expect_error(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", "no \"shape\"");
  expect_error(R"({"a":{"dtype":"F32","shape":4,"data_offsets":[0,4]}})", "\"shape\"");
  expect_error(R"({"a":{"dtype":"F32","shape":[1]}})", "no \"data_offsets\"");
  expect_error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", "not two numbers");
  expect_error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4.0]}})", "whole numbers");
}

TEST(Safetensors, RefusesSizesThatLie) {
  expect_error(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "whole numbers");
  expect_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "do not hold");
  expect_error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", "do not hold");
  expect_error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}})", "lies at bytes 8 to 4");
  expect_error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[16,20]}})", "lies at bytes");
  expect_error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}})", "whole numbers");
  expect_error(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})",
               "do not hold");
  expect_error(R"({"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})",
               "do not hold");
  expect_error(R"({"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,4]}})",
               "impossible shape");
}

TEST(Safetensors, RefusesOverlaps) {
  expect_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},)"
               R"("b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
               "overlap at byte 4");
  expect_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
               R"("b":{"dtype":"F8","shape":[1],"data_offsets":[7,8]}})",
               "overlap at byte 7");
  EXPECT_EQ(error_of(file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                             R"("e":{"dtype":"F32","shape":[0],"data_offsets":[2,2]}})",
                             std::string(4, '\0'))),
            "")
      << "an empty tensor overlaps nothing";
}

TEST(Safetensors, RefusesHeaderSizesBeyondTheFile) {
  for (const std::uint64_t size : {std::uint64_t{3}, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    const std::string error = error_of(little_endian(size) + "{}");
    EXPECT_NE(error.find("no safetensors file"), std::string::npos) << error;
  }
  EXPECT_NE(error_of("abc"), "");
  EXPECT_NE(error_of(""), "");
}

TEST(Safetensors, EveryCutIsAnError) {
  const std::string whole =
      file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", std::string(8, 'x'));
  EXPECT_EQ(error_of(whole), "");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(error_of(whole.substr(0, size)), "") << size;
  }
}

TEST(Safetensors, WriterRefusesBytesThatDoNotFit) {
  const std::array<float, 2> values{};
  const TemporaryFolder folder;
  const auto file = folder.write("t.safetensors", "old");
  const StoredTensor wrong{DType::f32, {3}, std::as_bytes(std::span(values)), nullptr};
  const StoredTensor right{DType::f32, {2}, std::as_bytes(std::span(values)), nullptr};
  EXPECT_THROW(write_safetensors(file, {{"a", wrong}}), Error);
  EXPECT_THROW(write_safetensors(file, {{"a", right}, {"a", right}}), Error);
  EXPECT_THROW(write_safetensors(file, {{"\xff", right}}), Error);
  EXPECT_EQ(read_file(file, 100), "old");
}

}  // namespace
}  // namespace blip
