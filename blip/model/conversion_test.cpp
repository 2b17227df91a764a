#include "blip/model/conversion.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "blip/base/error.h"
#include "blip/checkpoint/safetensors.h"
#include "blip/model/blip.h"
#include "blip/model/pattern_test.h"
#include "blip/model/smoothing.h"
#include "blip/ops/isa.h"
#include "blip/ops/tiles.h"

namespace blip {
namespace {

namespace fs = std::filesystem;

class Conversion : public testing::Test {
 protected:
  Conversion()
      : folder_(fs::temp_directory_path() / ("blip_conversion_" + std::to_string(getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~Conversion() override { fs::remove_all(folder_); }

  static const Checkpoint& source() {
    static const Checkpoint opened = open_checkpoint(BLIP_SOURCE_DIR "/models/default");
    return opened;
  }

  fs::path folder_;
};

std::vector<float> image_embeds(const Checkpoint& checkpoint, Precision precision) {
  const BlipModel model(checkpoint.config, Parameters(checkpoint.tensors, precision));
  const int side = checkpoint.config.vision.image_size;
  const VisionEncoder& vision = model.vision();
  std::vector<float> embeds(static_cast<std::size_t>(vision.num_tokens(side, side)) *
                            static_cast<std::size_t>(vision.config().hidden_size));
  vision.forward(pattern(side), side, side, embeds, {});
  return embeds;
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += double{a[i]} * double{b[i]};
    aa += double{a[i]} * double{a[i]};
    bb += double{b[i]} * double{b[i]};
  }
  return ab / std::sqrt(aa * bb);
}

TEST_F(Conversion, GivesWhatTheSamePrecisionGivesAtLoading) {
  for (const Precision precision : kPrecisions) {
    const fs::path to = folder_ / std::string(name(precision));
    ConversionOptions options;
    options.precision = precision;
    write_converted(source(), options, to);
    const Checkpoint converted = open_checkpoint(to);
    EXPECT_EQ(image_embeds(converted, precision), image_embeds(source(), precision))
        << name(precision);
    EXPECT_TRUE(fs::exists(to / "vocab.txt"));
  }
  EXPECT_LT(fs::file_size(folder_ / "int8/model.safetensors"),
            fs::file_size(folder_ / "f32/model.safetensors") / 3);
}

TEST_F(Conversion, WhatIsStoredAndTheCpuChooseThePrecision) {
  ConversionOptions options;
  for (const Precision precision : kPrecisions) {
    options.precision = precision;
    write_converted(source(), options, folder_ / std::string(name(precision)));
  }
  const auto chosen = [&](Precision stored, std::optional<Precision> wanted = {}) {
    return choose_precision(open_checkpoint(folder_ / std::string(name(stored))).tensors, wanted);
  };
  const Isa before = active_isa();
  for (const Isa isa : supported_isas()) {
    force_isa(isa);
    const bool multiplied = tiles_multiply(Precision::bf16);
    EXPECT_EQ(chosen(Precision::f32), multiplied ? Precision::bf16 : Precision::f32) << name(isa);
    EXPECT_EQ(chosen(Precision::bf16), Precision::bf16);
    EXPECT_EQ(chosen(Precision::int8), Precision::int8);
    EXPECT_EQ(chosen(Precision::f32, Precision::f32), Precision::f32);
    EXPECT_EQ(chosen(Precision::bf16, Precision::int8), Precision::int8);
    EXPECT_THROW(chosen(Precision::int8, Precision::f32), Error);
  }
  force_isa(before);
}

TEST_F(Conversion, KeepsTheAuthorsConventions) {
  const Checkpoint authors =
      open_checkpoint(BLIP_SOURCE_DIR "/tests/golden/data/E_original/nlvr/model_nlvr.pth", {4});
  ConversionOptions options;
  options.precision = Precision::bf16;
  write_converted(authors, options, folder_ / "nlvr");
  const Checkpoint converted = open_checkpoint(folder_ / "nlvr");
  EXPECT_EQ(converted.family, CheckpointFamily::authors);
  EXPECT_EQ(converted.config.architecture, Architecture::nlvr);
  EXPECT_EQ(image_embeds(converted, Precision::bf16), image_embeds(authors, Precision::bf16));
}

TEST_F(Conversion, LeavesWhatIsThere) {
  std::ofstream(folder_ / "mine") << "mine";
  EXPECT_THROW(write_converted(source(), {}, folder_), Error);
  EXPECT_TRUE(fs::exists(folder_ / "mine"));
  EXPECT_FALSE(fs::exists(folder_ / "model.safetensors"));
}

TEST_F(Conversion, IsOfOriginals) {
  for (const Precision precision : kPrecisions) {
    ConversionOptions options;
    options.precision = precision;
    const fs::path to = folder_ / std::string(name(precision));
    write_converted(source(), options, to);
    EXPECT_THROW(write_converted(open_checkpoint(to), options, folder_ / "again"), Error);
    EXPECT_FALSE(fs::exists(folder_ / "again"));
  }
}

TEST_F(Conversion, PanelsRunOnEveryCpuAndInOtherPrecisions) {
  ConversionOptions options;
  options.precision = Precision::bf16;
  write_converted(source(), options, folder_ / "bf16");
  const Checkpoint converted = open_checkpoint(folder_ / "bf16");
  const std::string qkv = "vision_model.encoder.layers.0.self_attn.qkv.weight";
  EXPECT_TRUE(converted.tensors.contains(qkv + "_panels"));
  EXPECT_FALSE(converted.tensors.contains(qkv));
  EXPECT_GT(cosine(image_embeds(converted, Precision::f32), image_embeds(source(), Precision::f32)),
            0.9999);
  EXPECT_GT(
      cosine(image_embeds(converted, Precision::int8), image_embeds(source(), Precision::f32)),
      0.99);
  const Isa before = active_isa();
  for (const Isa isa : supported_isas()) {
    force_isa(isa);
    EXPECT_EQ(image_embeds(converted, Precision::bf16), image_embeds(source(), Precision::bf16))
        << name(isa);
  }
  force_isa(before);
}

TEST_F(Conversion, PanelsThatCannotBeAreDamage) {
  const auto model = [&](DType dtype, std::int64_t width) {
    const std::string name = "vision_model.encoder.layers.0.self_attn.projection.weight";
    TensorStore tensors;
    for (const auto& [other, tensor] : source().tensors.tensors())
      if (other != name) tensors.add(other, tensor);
    const std::vector<std::byte> bytes(static_cast<std::size_t>(width * width) * size_of(dtype));
    tensors.add(name + "_panels", {dtype, {width, width}, bytes, nullptr});
    return BlipModel(source().config, tensors);
  };
  const std::int64_t width = source().config.vision.hidden_size;
  EXPECT_NO_THROW(model(DType::f32, width));
  EXPECT_THROW(model(DType::f32, width + 32), Error) << "of another shape";
  EXPECT_THROW(model(DType::u8, width), Error) << "of a type that no matrix has";
  EXPECT_THROW(model(DType::i8, width), Error) << "without scales";
}

TEST_F(Conversion, AnInt8FileWithoutItsScalesIsDamaged) {
  ConversionOptions options;
  options.precision = Precision::int8;
  write_converted(source(), options, folder_ / "int8");
  Checkpoint damaged = open_checkpoint(folder_ / "int8");
  std::vector<std::pair<std::string, StoredTensor>> tensors;
  for (const auto& [name, tensor] : damaged.tensors.tensors()) {
    if (!name.ends_with("weight_scale")) tensors.emplace_back(name, tensor);
  }
  write_safetensors(folder_ / "int8/other.safetensors", tensors);
  fs::rename(folder_ / "int8/other.safetensors", folder_ / "int8/model.safetensors");
  damaged = open_checkpoint(folder_ / "int8");
  EXPECT_THROW(BlipModel(damaged.config, damaged.tensors), Error);
}

TEST_F(Conversion, SmoothingBringsInt8NearerToF32) {
  const int side = source().config.vision.image_size;
  SmoothingSearch search(source());
  EXPECT_THROW(search.choose({}), Error);
  search.observe(pattern(side), side, side, {});
  ConversionOptions plain, smoothed;
  plain.precision = smoothed.precision = Precision::int8;
  smoothed.smoothing = search.choose({});
  EXPECT_FALSE(smoothed.smoothing.empty());
  write_converted(source(), plain, folder_ / "plain");
  write_converted(source(), smoothed, folder_ / "smoothed");
  const auto exact = image_embeds(source(), Precision::f32);
  const double before =
      cosine(image_embeds(open_checkpoint(folder_ / "plain"), Precision::int8), exact);
  const double after =
      cosine(image_embeds(open_checkpoint(folder_ / "smoothed"), Precision::int8), exact);
  EXPECT_GT(after, before);
  EXPECT_GT(after, 0.998);
}

TEST_F(Conversion, ReportsAreKeptInTheConfiguration) {
  write_converted(source(), {}, folder_ / "f32");
  write_report({{"passes", true}}, folder_ / "f32");
  EXPECT_TRUE(read_json(folder_ / "f32/config.json")["blip_precision"]["passes"]);
  EXPECT_FALSE(open_checkpoint(folder_ / "f32").failed_gate);
  for (const Json& odd : {Json(1), Json::array(), Json{{"passes", "no"}}}) {
    write_report(odd, folder_ / "f32");
    EXPECT_FALSE(open_checkpoint(folder_ / "f32").failed_gate);
  }
  write_report({{"passes", false}}, folder_ / "f32");
  EXPECT_TRUE(open_checkpoint(folder_ / "f32").failed_gate);
}

}  // namespace
}  // namespace blip
