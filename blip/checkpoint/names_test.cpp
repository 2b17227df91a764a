#include "blip/checkpoint/names.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace blip {
namespace {

TEST(TransformersName, RenamesTheVisionEncoder) {
  const std::pair<std::string, std::string> cases[] = {
      {"visual_encoder.cls_token", "vision_model.embeddings.class_embedding"},
      {"visual_encoder.pos_embed", "vision_model.embeddings.position_embedding"},
      {"visual_encoder.patch_embed.proj.weight", "vision_model.embeddings.patch_embedding.weight"},
      {"visual_encoder.patch_embed.proj.bias", "vision_model.embeddings.patch_embedding.bias"},
      {"visual_encoder.norm.weight", "vision_model.post_layernorm.weight"},
      {"visual_encoder.blocks.0.norm1.weight", "vision_model.encoder.layers.0.layer_norm1.weight"},
      {"visual_encoder.blocks.23.norm2.bias", "vision_model.encoder.layers.23.layer_norm2.bias"},
      {"visual_encoder.blocks.3.attn.qkv.bias", "vision_model.encoder.layers.3.self_attn.qkv.bias"},
      {"visual_encoder.blocks.11.attn.proj.weight",
       "vision_model.encoder.layers.11.self_attn.projection.weight"},
      {"visual_encoder.blocks.1.mlp.fc1.weight", "vision_model.encoder.layers.1.mlp.fc1.weight"},
      {"visual_encoder.blocks.1.mlp.fc2.bias", "vision_model.encoder.layers.1.mlp.fc2.bias"},
  };
  for (const auto& [authors, expected] : cases) {
    EXPECT_EQ(transformers_name(authors), expected);
    EXPECT_EQ(authors_name(expected), authors);
  }
}

TEST(TransformersName, KeepsTextAndHeads) {
  for (const std::string name : {
           "text_encoder.encoder.layer.0.crossattention.self.key.weight",
           "text_encoder.encoder.layer.7.crossattention.self0.query.bias",
           "text_encoder.encoder.layer.7.crossattention.output.merge_layer.weight",
           "text_decoder.bert.embeddings.word_embeddings.weight",
           "text_decoder.cls.predictions.decoder.weight",
           "vision_proj.weight",
           "text_proj.bias",
           "itm_head.weight",
           "cls_head.2.bias",
       }) {
    EXPECT_EQ(transformers_name(name), name);
  }
}

TEST(TransformersName, DropsTrainingState) {
  for (const std::string name : {
           "temp",
           "image_queue",
           "text_queue",
           "idx_queue",
           "queue_ptr",
           "ptr_queue",
           "visual_encoder_m.blocks.0.norm1.weight",
           "text_encoder_m.embeddings.LayerNorm.bias",
           "vision_proj_m.weight",
           "text_proj_m.bias",
           "text_encoder.embeddings.position_ids",
           "text_decoder.bert.embeddings.position_ids",
       }) {
    EXPECT_EQ(transformers_name(name), "") << name;
  }
}

TEST(TransformersName, SurvivesCutNames) {
  EXPECT_EQ(transformers_name(""), "");
  EXPECT_EQ(transformers_name("visual_encoder."), "vision_model.");
  EXPECT_EQ(transformers_name("visual_encoder.blocks."), "vision_model.encoder.layers..");
  EXPECT_EQ(transformers_name("visual_encoder.blocks.4"), "vision_model.encoder.layers.4.");
  EXPECT_EQ(transformers_name("visual_encoder_m"), "");
}

}  // namespace
}  // namespace blip
