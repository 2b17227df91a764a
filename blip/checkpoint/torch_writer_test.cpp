#include "blip/checkpoint/torch_writer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/checkpoint/torch_pickle.h"
#include "blip/checkpoint/zip_writer.h"

namespace blip {
namespace {

template <class T>
StoredTensor stored(DType dtype, Shape shape, const std::vector<T>& values) {
  return {dtype, std::move(shape), std::as_bytes(std::span(values)), nullptr};
}

std::filesystem::path scratch_file() {
  return std::filesystem::path(::testing::TempDir()) / "torch_writer_test.pth";
}

TEST(TorchWriter, WritesWhatTheReaderReads) {
  const std::vector<float> matrix = {1, 2, 3, 4, 5, 6}, scalar = {0.07f};
  const std::vector<std::int64_t> pointer = {1ll << 40};
  const auto file = scratch_file();
  write_torch_pickle(file, {{"a.weight", stored(DType::f32, {2, 3}, matrix)},
                            {"tied.weight", stored(DType::f32, {2, 3}, matrix)},
                            {"temp", stored(DType::f32, {}, scalar)},
                            {"ptr", stored(DType::i64, {1}, pointer)}});
  TensorStore store;
  read_torch_pickle(file, store);
  EXPECT_EQ(store.tensors().size(), 4u);
  const Weight weight = store.weight("a.weight", {2, 3});
  EXPECT_EQ(std::vector<float>(weight.span().begin(), weight.span().end()), matrix);
  EXPECT_EQ(store.weight("tied.weight", {2, 3}).data(), weight.data()) << "written twice";
  EXPECT_EQ(store.weight("temp", {}).data()[0], 0.07f);
  EXPECT_EQ(store.tensor("ptr", {1}).dtype, DType::i64);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(weight.data()) % 64, 0u);
  std::filesystem::remove(file);
}

TEST(TorchWriter, RefusesATensorThatDoesNotFitItsShape) {
  const std::vector<float> values = {1, 2, 3};
  try {
    write_torch_pickle(scratch_file(), {{"w", stored(DType::f32, {4}, values)}});
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::internal);
    EXPECT_NE(std::string(e.what()).find("\"w\""), std::string::npos) << e.what();
  }
}

TEST(ZipWriter, Checksum) {
  const std::string_view check = "123456789";  // whose CRC-32 every description of it gives
  EXPECT_EQ(crc32(std::as_bytes(std::span(check.data(), check.size()))), 0xcbf43926u);
  const std::string_view text = "The quick brown fox jumps over the lazy dog";
  EXPECT_EQ(crc32(std::as_bytes(std::span(text.data(), text.size()))), 0x414fa339u);
}

}  // namespace
}  // namespace blip
