#include "blip/checkpoint/checkpoint.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "blip/base/error.h"
#include "blip/checkpoint/safetensors.h"
#include "blip/checkpoint/torch_file_builder_test.h"

namespace blip {
namespace {

using testing::TemporaryFolder;
using testing::zeros_file;
using Shapes = std::vector<std::pair<std::string, std::vector<std::int64_t>>>;

constexpr const char* kConfig =
    R"({"model_type":"blip","architectures":["BlipForImageTextRetrieval"]})";

/// The tensors of an authors' vision encoder that tell its sizes: 3x3 patches of 4 pixels.
Shapes vision(std::int64_t width) {
  return {{"visual_encoder.cls_token", {1, 1, width}},
          {"visual_encoder.pos_embed", {1, 10, width}},
          {"visual_encoder.patch_embed.proj.weight", {width, 3, 4, 4}},
          {"visual_encoder.blocks.0.norm1.weight", {width}},
          {"visual_encoder.blocks.0.mlp.fc1.weight", {2 * width, width}},
          {"visual_encoder.blocks.1.norm1.weight", {width}}};
}

/// The same of a text model below `prefix`: 11 words, 7 positions.
Shapes text(const std::string& prefix, std::int64_t width, std::int64_t encoder_width,
            const std::string& attention = "self") {
  const std::string layer = prefix + "encoder.layer.";
  return {{prefix + "embeddings.position_ids", {1, 7}},
          {prefix + "embeddings.word_embeddings.weight", {30524, width}},
          {prefix + "embeddings.position_embeddings.weight", {7, width}},
          {layer + "0.attention.self.query.weight", {width, width}},
          {layer + "1.attention.self.query.weight", {width, width}},
          {layer + "2.attention.self.query.weight", {width, width}},
          {layer + "0.crossattention." + attention + ".key.weight", {width, encoder_width}},
          {layer + "0.intermediate.dense.weight", {3 * width, width}}};
}

Shapes operator+(Shapes a, const Shapes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

const Shapes kItc{{"vision_proj.weight", {5, 8}}, {"text_proj.weight", {5, 4}}};
const Shapes kItm{{"itm_head.weight", {2, 4}}};

Checkpoint open_pth(const TemporaryFolder& folder, const Shapes& tensors, int vision_heads = 2) {
  return open_checkpoint(folder.write("model.pth", zeros_file(tensors)),
                         {.vision_heads = vision_heads});
}

template <class Open>
void expect_error(Open open, ErrorCode code, const std::string& part) {
  try {
    open();
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

TEST(OpenCheckpoint, ReadsAFolder) {
  const TemporaryFolder folder;
  folder.write("config.json", kConfig);
  folder.write("pytorch_model.bin", zeros_file({{"vision_model.a", {2}}}));
  Checkpoint checkpoint = open_checkpoint(folder.path());
  EXPECT_EQ(checkpoint.family, CheckpointFamily::transformers);
  EXPECT_EQ(checkpoint.config.architecture, Architecture::retrieval);
  EXPECT_EQ(checkpoint.folder, folder.path());
  EXPECT_EQ(checkpoint.tensors.origin(), folder.path().string());
  EXPECT_TRUE(checkpoint.tensors.contains("vision_model.a"));
  EXPECT_TRUE(checkpoint.preprocessor.is_null());
  EXPECT_FALSE(checkpoint.generation.contains("num_beams")) << "config.json says nothing of it";

  folder.write("preprocessor_config.json", R"({"size":3})");
  folder.write("generation_config.json", R"({"num_beams":4})");
  checkpoint = open_checkpoint(folder.path());
  EXPECT_EQ(checkpoint.preprocessor["size"], 3);
  EXPECT_EQ(checkpoint.generation["num_beams"], 4);
}

TEST(OpenCheckpoint, ReadsAWeightFileOfAFolder) {
  const TemporaryFolder folder;
  const auto bin = folder.write("other.bin", zeros_file({{"vision_model.a", {2}}}));
  expect_error([&] { open_checkpoint(bin); }, ErrorCode::unsupported, "no checkpoint of BLIP");
  folder.write("config.json", kConfig);
  EXPECT_EQ(open_checkpoint(bin).family, CheckpointFamily::transformers);

  const std::array<float, 1> value{};
  const auto file = folder.path() / "m.safetensors";
  write_safetensors(file, {{"a", {DType::f32, {1}, std::as_bytes(std::span(value)), nullptr}}});
  EXPECT_TRUE(open_checkpoint(file).tensors.contains("a"));
  std::filesystem::remove(folder.path() / "config.json");
  expect_error([&] { open_checkpoint(file); }, ErrorCode::not_found, "no config.json beside it");
}

TEST(OpenCheckpoint, SaysWhatAFolderLacks) {
  const TemporaryFolder folder;
  expect_error([&] { open_checkpoint(folder.path() / "nowhere"); }, ErrorCode::not_found,
               "there is no checkpoint at");
  expect_error([&] { open_checkpoint(folder.path()); }, ErrorCode::not_found, "no config.json");
  folder.write("config.json", kConfig);
  expect_error([&] { open_checkpoint(folder.path()); }, ErrorCode::not_found, "looked for");
  folder.write("config.json", R"({"model_type":"clip"})");
  expect_error([&] { open_checkpoint(folder.path()); }, ErrorCode::unsupported, "\"clip\"");
}

TEST(OpenAuthorsCheckpoint, TakesSizesFromTensors) {
  const TemporaryFolder folder;
  folder.write("med_config.json", R"({"num_attention_heads":2,"encoder_width":768})");
  const Checkpoint checkpoint = open_pth(folder, vision(8) + text("text_decoder.bert.", 4, 8));
  EXPECT_EQ(checkpoint.family, CheckpointFamily::authors);
  EXPECT_EQ(checkpoint.folder, folder.path());
  const BlipConfig& config = checkpoint.config;
  EXPECT_EQ(config.vision.hidden_size, 8);
  EXPECT_EQ(config.vision.intermediate_size, 16);
  EXPECT_EQ(config.vision.num_hidden_layers, 2);
  EXPECT_EQ(config.vision.num_attention_heads, 2);
  EXPECT_EQ(config.vision.image_size, 12);
  EXPECT_EQ(config.vision.patch_size, 4);
  EXPECT_FLOAT_EQ(config.vision.layer_norm_eps, 1e-6f);
  EXPECT_EQ(config.text.vocab_size, 30524);
  EXPECT_EQ(config.text.hidden_size, 4);
  EXPECT_EQ(config.text.encoder_hidden_size, 8);
  EXPECT_EQ(config.text.intermediate_size, 12);
  EXPECT_EQ(config.text.num_hidden_layers, 3);
  EXPECT_EQ(config.text.num_attention_heads, 2);
  EXPECT_EQ(config.text.max_position_embeddings, 7);
  EXPECT_EQ(config.text.bos_token_id, 30522);
  EXPECT_EQ(config.text.sep_token_id, 102);
  EXPECT_TRUE(checkpoint.tensors.contains("vision_model.embeddings.class_embedding"));
  EXPECT_FALSE(checkpoint.tensors.contains("text_decoder.bert.embeddings.position_ids"));
}

TEST(OpenAuthorsCheckpoint, TellsArchitecturesApart) {
  const Shapes encoder = text("text_encoder.", 4, 8);
  const std::pair<Architecture, Shapes> cases[] = {
      {Architecture::captioning, text("text_decoder.bert.", 4, 8)},
      {Architecture::question_answering, encoder + text("text_decoder.bert.", 4, 4)},
      {Architecture::retrieval, encoder + kItc + kItm},
      {Architecture::pretrain, encoder + text("text_decoder.bert.", 4, 8) + kItc + kItm},
      {Architecture::nlvr, text("text_encoder.", 4, 8, "self0") + Shapes{{"cls_head.0.bias", {4}}}},
  };
  for (const auto& [expected, tensors] : cases) {
    const TemporaryFolder folder;
    folder.write("med_config.json", R"({"num_attention_heads":1})");
    const BlipConfig config = open_pth(folder, vision(8) + tensors).config;
    EXPECT_EQ(config.architecture, expected) << name(expected);
    EXPECT_EQ(config.text.encoder_hidden_size, 8) << name(expected);
    const bool itc = expected == Architecture::retrieval || expected == Architecture::pretrain;
    EXPECT_EQ(config.image_text_hidden_size, itc ? 5 : 256);
  }
}

TEST(OpenAuthorsCheckpoint, DerivesHeadsFromWidthsOf64) {
  const TemporaryFolder folder;
  const auto file =
      folder.write("m.pth", zeros_file(vision(128) + text("text_decoder.bert.", 64, 128)));
  const BlipConfig config = open_checkpoint(file).config;
  EXPECT_EQ(config.vision.num_attention_heads, 2);
  EXPECT_EQ(config.text.num_attention_heads, 1);
}

TEST(OpenAuthorsCheckpoint, AsksForHeadsThatItCannotKnow) {
  const TemporaryFolder folder;
  const Shapes tensors = vision(8) + text("text_decoder.bert.", 4, 8);
  expect_error([&] { open_pth(folder, tensors, 0); }, ErrorCode::usage, "give vision_heads");
  expect_error([&] { open_pth(folder, tensors); }, ErrorCode::usage, "med_config.json");
  for (const char* heads : {"0", "3", "-1", "\"2\"", "4294967298", "null"}) {
    folder.write("med_config.json", R"({"num_attention_heads":)" + std::string(heads) + "}");
    expect_error([&] { open_pth(folder, tensors); }, ErrorCode::bad_model, "num_attention_heads");
  }
  folder.write("med_config.json", R"({"num_attention_heads":2})");
  expect_error([&] { open_pth(folder, tensors, 3); }, ErrorCode::bad_model, "does not divide");
}

TEST(OpenAuthorsCheckpoint, RefusesOtherModels) {
  const TemporaryFolder folder;
  expect_error(
      [&] {
        open_pth(folder, vision(8) + Shapes{{"query_tokens", {1, 32, 8}}});
      },
      ErrorCode::unsupported, "BLIP-2");
  expect_error(
      [&] {
        open_pth(folder, {{"visual.conv1.weight", {8, 3, 4, 4}}});
      },
      ErrorCode::unsupported, "no checkpoint of BLIP");
  expect_error([&] { open_pth(folder, vision(8)); }, ErrorCode::unsupported,
               "no checkpoint of BLIP");
}

TEST(OpenAuthorsCheckpoint, RefusesContradictions) {
  const TemporaryFolder folder;
  folder.write("med_config.json", R"({"num_attention_heads":1})");
  const Shapes decoder = text("text_decoder.bert.", 4, 8);
  Shapes tensors = vision(8) + decoder;
  tensors[1].second = {1, 12, 8};
  expect_error([&] { open_pth(folder, tensors); }, ErrorCode::bad_model, "no square picture");
  tensors = vision(8) + decoder;
  tensors[2].second = {8, 48};
  expect_error([&] { open_pth(folder, tensors); }, ErrorCode::bad_model, "[8, 48]");
  tensors = vision(8) + decoder;
  tensors[3].first = "visual_encoder.blocks.9.norm1.weight";
  expect_error([&] { open_pth(folder, tensors); }, ErrorCode::bad_model, "num_hidden_layers");
  tensors = vision(8) + decoder;
  tensors.erase(tensors.begin() + 7);
  expect_error([&] { open_pth(folder, tensors); }, ErrorCode::bad_model,
               "\"text_decoder.bert.embeddings.word_embeddings.weight\" is missing");
}

}  // namespace
}  // namespace blip
