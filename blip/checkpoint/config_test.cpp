#include "blip/checkpoint/config.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "blip/base/error.h"

namespace blip {
namespace {

Json minimal() {
  return {{"model_type", "blip"}, {"architectures", {"BlipForConditionalGeneration"}}};
}

void expect_error(const Json& json, ErrorCode code, const std::string& part) {
  try {
    BlipConfig::from_json(json);
    ADD_FAILURE() << "accepted " << json.dump();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

TEST(BlipConfig, HasTransformersDefaults) {
  const BlipConfig config = BlipConfig::from_json(minimal());
  EXPECT_EQ(config.architecture, Architecture::captioning);
  EXPECT_EQ(config.vision.num_attention_heads, 12);
  EXPECT_EQ(config.text.num_attention_heads, 8);
  EXPECT_EQ(config.vision.image_size, 384);
  EXPECT_FLOAT_EQ(config.vision.layer_norm_eps, 1e-5f);
  EXPECT_FLOAT_EQ(config.text.layer_norm_eps, 1e-12f);
  EXPECT_EQ(config.text.bos_token_id, 30522);
  EXPECT_EQ(config.text.sep_token_id, 102);
  EXPECT_EQ(config.image_text_hidden_size, 256);
}

TEST(BlipConfig, ReadsEveryNumber) {
  Json json = minimal();
  json["vision_config"] = {{"hidden_size", 1024},      {"intermediate_size", 4096},
                           {"num_hidden_layers", 24},  {"num_attention_heads", 16},
                           {"image_size", {480, 480}}, {"patch_size", 32},
                           {"layer_norm_eps", 1e-6},   {"hidden_act", "gelu"}};
  json["text_config"] = {{"vocab_size", 265},
                         {"hidden_size", 60},
                         {"encoder_hidden_size", 7},
                         {"intermediate_size", 99},
                         {"num_hidden_layers", 3},
                         {"num_attention_heads", 5},
                         {"max_position_embeddings", 64},
                         {"layer_norm_eps", 0.5},
                         {"bos_token_id", 263},
                         {"pad_token_id", 1},
                         {"sep_token_id", 3},
                         {"eos_token_id", Json()}};
  json["image_text_hidden_size"] = 20;
  json["projection_dim"] = 24;
  const BlipConfig config = BlipConfig::from_json(json);
  EXPECT_EQ(config.vision.hidden_size, 1024);
  EXPECT_EQ(config.vision.intermediate_size, 4096);
  EXPECT_EQ(config.vision.num_hidden_layers, 24);
  EXPECT_EQ(config.vision.num_attention_heads, 16);
  EXPECT_EQ(config.vision.image_size, 480);
  EXPECT_EQ(config.vision.patch_size, 32);
  EXPECT_FLOAT_EQ(config.vision.layer_norm_eps, 1e-6f);
  EXPECT_EQ(config.text.vocab_size, 265);
  EXPECT_EQ(config.text.hidden_size, 60);
  EXPECT_EQ(config.text.encoder_hidden_size, 1024) << "is the vision width, whatever the file says";
  EXPECT_EQ(config.text.intermediate_size, 99);
  EXPECT_EQ(config.text.num_hidden_layers, 3);
  EXPECT_EQ(config.text.num_attention_heads, 5);
  EXPECT_EQ(config.text.max_position_embeddings, 64);
  EXPECT_FLOAT_EQ(config.text.layer_norm_eps, 0.5f);
  EXPECT_EQ(config.text.bos_token_id, 263);
  EXPECT_EQ(config.text.pad_token_id, 1);
  EXPECT_EQ(config.text.sep_token_id, 3);
  EXPECT_EQ(config.image_text_hidden_size, 20);
  EXPECT_EQ(config.projection_dim, 24);
}

TEST(BlipConfig, TakesNullForADefault) {
  Json json = minimal();
  json["text_config"] = {{"sep_token_id", Json()}};
  json["vision_config"] = Json();
  EXPECT_EQ(BlipConfig::from_json(json).text.sep_token_id, 102);
}

TEST(BlipConfig, KnowsTheArchitectures) {
  const std::pair<const char*, Architecture> cases[] = {
      {"BlipForConditionalGeneration", Architecture::captioning},
      {"BlipForQuestionAnswering", Architecture::question_answering},
      {"BlipForImageTextRetrieval", Architecture::retrieval},
      {"BlipModel", Architecture::dual_encoder},
  };
  for (const auto& [name, expected] : cases) {
    Json json = minimal();
    json["architectures"] = {name};
    EXPECT_EQ(BlipConfig::from_json(json).architecture, expected);
  }
  EXPECT_EQ(name(Architecture::nlvr), "nlvr");
  EXPECT_EQ(name(Architecture::pretrain), "pretrain");
}

TEST(BlipConfig, RefusesOtherModels) {
  Json json = minimal();
  json["model_type"] = "blip-2";
  expect_error(json, ErrorCode::unsupported, "\"blip-2\"; this program runs \"blip\"");
  json = minimal();
  json.erase("model_type");
  expect_error(json, ErrorCode::bad_model, "model_type");
  json = minimal();
  json["architectures"] = {"BlipVisionModel"};
  expect_error(json, ErrorCode::unsupported, "BlipVisionModel");
  json["architectures"] = Json::array();
  expect_error(json, ErrorCode::bad_model, "architectures");
  json = minimal();
  json["text_config"] = {{"hidden_act", "relu"}};
  expect_error(json, ErrorCode::unsupported, "text_config.hidden_act");
  expect_error(Json::array(), ErrorCode::bad_model, "object");
}

TEST(BlipConfig, RefusesImpossibleNumbers) {
  struct Case {
    const char* section;
    const char* key;
    Json value;
  };
  const Case cases[] = {
      {"vision_config", "hidden_size", 0},
      {"vision_config", "hidden_size", -768},
      {"vision_config", "hidden_size", 1 << 20},
      {"vision_config", "hidden_size", 768.5},
      {"vision_config", "hidden_size", "768"},
      {"vision_config", "hidden_size", 18446744073709551615u},
      {"vision_config", "num_attention_heads", 0},
      {"vision_config", "num_attention_heads", 7},
      {"vision_config", "patch_size", 0},
      {"vision_config", "patch_size", 17},
      {"vision_config", "image_size", {384, 400}},
      {"vision_config", "image_size", 1 << 20},
      {"vision_config", "num_hidden_layers", 1 << 16},
      {"vision_config", "layer_norm_eps", "small"},
      {"vision_config", "layer_norm_eps", -1.0},
      {"text_config", "num_attention_heads", 7},
      {"text_config", "vocab_size", 0},
      {"text_config", "sep_token_id", 30524},
      {"text_config", "pad_token_id", -1},
      {"text_config", "max_position_embeddings", 0},
      {"text_config", "layer_norm_eps", 1e300},
  };
  for (const Case& c : cases) {
    Json json = minimal();
    json[c.section] = {{c.key, c.value}};
    expect_error(json, ErrorCode::bad_model, std::string(c.section) + "." + c.key);
  }
  Json json = minimal();
  json["text_config"] = {{"vocab_size", 30522}};
  expect_error(json, ErrorCode::bad_model, "bos_token_id");  // [DEC] is the next word
  json = minimal();
  json["vision_config"] = {1, 2};
  expect_error(json, ErrorCode::bad_model, "vision_config");
}

TEST(BlipConfig, AllowsAPlainBertVocabularyWhereNothingIsGenerated) {
  Json json = minimal();
  json["architectures"] = {"BlipModel"};
  json["text_config"] = {{"vocab_size", 30522}};
  EXPECT_EQ(BlipConfig::from_json(json).text.vocab_size, 30522);
}

}  // namespace
}  // namespace blip
