#include "blip/checkpoint/weight_files.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "blip/base/error.h"
#include "blip/checkpoint/safetensors.h"
#include "blip/checkpoint/torch_file_builder_test.h"

namespace blip {
namespace {

using testing::TemporaryFolder;
using testing::zeros_file;

void write_one(const std::filesystem::path& file, const std::string& name) {
  const std::array<float, 1> value{};
  write_safetensors(file, {{name, {DType::f32, {1}, std::as_bytes(std::span(value)), nullptr}}});
}

TensorStore read(const TemporaryFolder& folder) {
  TensorStore store;
  read_weight_folder(folder.path(), store);
  return store;
}

void expect_error(const TemporaryFolder& folder, ErrorCode code, const std::string& part) {
  try {
    read(folder);
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

TEST(WeightFolder, PrefersSafetensors) {
  const TemporaryFolder folder;
  write_one(folder.path() / "model.safetensors", "whole");
  folder.write("model.safetensors.index.json", "broken");
  folder.write("pytorch_model.bin", "broken");
  EXPECT_TRUE(read(folder).contains("whole"));
}

TEST(WeightFolder, ReadsPytorchModelBin) {
  const TemporaryFolder folder;
  folder.write("pytorch_model.bin", zeros_file({{"a", {2}}}));
  EXPECT_TRUE(read(folder).contains("a"));
}

TEST(WeightFolder, ReadsShardsOfBothKinds) {
  const TemporaryFolder safetensors;
  safetensors.write("model.safetensors.index.json",
                    R"({"metadata":{},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors",)"
                    R"("c":"m-2.safetensors"}})");
  write_one(safetensors.path() / "m-1.safetensors", "a");
  write_one(safetensors.path() / "m-2.safetensors", "b");
  EXPECT_EQ(read(safetensors).tensors().size(), 2u);

  const TemporaryFolder bins;
  bins.write("pytorch_model.bin.index.json", R"({"weight_map":{"a":"1.bin","b":"2.bin"}})");
  bins.write("1.bin", zeros_file({{"a", {2}}}));
  bins.write("2.bin", zeros_file({{"b", {2}}}));
  EXPECT_EQ(read(bins).tensors().size(), 2u);
}

TEST(WeightFolder, NamesAMissingShard) {
  const TemporaryFolder folder;
  folder.write("model.safetensors.index.json", R"({"weight_map":{"a":"m-1.safetensors"}})");
  expect_error(folder, ErrorCode::not_found, "m-1.safetensors is missing");
}

TEST(WeightFolder, RefusesShardsOutsideTheFolder) {
  for (const std::string shard :
       {"../m.safetensors", "/etc/passwd", "a/b", "..", ".", "", "a\\\\b", "a\\u0000b"}) {
    const TemporaryFolder folder;
    folder.write("model.safetensors.index.json", R"({"weight_map":{"a":")" + shard + "\"}}");
    expect_error(folder, ErrorCode::bad_model, "expected the name of a file beside it");
  }
}

TEST(WeightFolder, RefusesDamagedIndexes) {
  for (const char* index : {"[]", "{}", R"({"weight_map":[]})", "null"}) {
    const TemporaryFolder folder;
    folder.write("model.safetensors.index.json", index);
    expect_error(folder, ErrorCode::bad_model, "weight_map");
  }
  const TemporaryFolder folder;
  folder.write("model.safetensors.index.json", R"({"weight_map":{"a":3}})");
  expect_error(folder, ErrorCode::bad_model, "places tensor \"a\"");
}

TEST(WeightFolder, SaysWhatItLookedFor) {
  const TemporaryFolder folder;
  expect_error(folder, ErrorCode::not_found,
               "holds no weights; looked for model.safetensors, model.safetensors.index.json, "
               "pytorch_model.bin, pytorch_model.bin.index.json");
}

}  // namespace
}  // namespace blip
