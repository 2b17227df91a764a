#include "blip/checkpoint/authors_config.h"

#include <cmath>
#include <string>

#include "blip/base/error.h"

namespace blip {
namespace {

/// Every head of the models that the authors published is this wide.
constexpr int kHeadWidth = 64;

[[noreturn]] void fail(const TensorStore& tensors, const std::string& what) {
  throw Error(ErrorCode::bad_model, tensors.origin() + ": " + what);
}

/// Size of a tensor of `rank` axes along one of them.
int dimension(const TensorStore& tensors, const std::string& name, std::size_t rank,
              std::size_t axis) {
  const StoredTensor* tensor = tensors.find(name);
  if (tensor == nullptr) fail(tensors, "tensor " + in_quotes(name) + " is missing");
  constexpr std::int64_t kMax = 1 << 24;  // validate() holds each size to a limit of its own
  if (tensor->shape.size() != rank || tensor->shape[axis] > kMax) {
    fail(tensors, "tensor " + in_quotes(name) + " has the shape " + to_string(tensor->shape) +
                      ", which no BLIP model has");
  }
  return static_cast<int>(tensor->shape[axis]);
}

/// How many N from 0 on there are with a tensor "<prefix>N<suffix>".
int count_layers(const TensorStore& tensors, const std::string& prefix, const std::string& suffix) {
  int count = 0;
  while (tensors.contains(prefix + std::to_string(count) + suffix)) ++count;
  return count;
}

bool has_part(const TensorStore& tensors, const std::string& prefix) {
  const auto at = tensors.tensors().lower_bound(prefix);
  return at != tensors.tensors().end() && at->first.starts_with(prefix);
}

Architecture architecture_of(const TensorStore& tensors) {
  if (tensors.contains("query_tokens") || has_part(tensors, "Qformer.")) {
    throw Error(ErrorCode::unsupported,
                tensors.origin() + " is a checkpoint of BLIP-2; this program runs BLIP");
  }
  const bool vision = tensors.contains("vision_model.embeddings.class_embedding");
  const bool encoder = has_part(tensors, "text_encoder.");
  const bool decoder = has_part(tensors, "text_decoder.");
  const bool itc = has_part(tensors, "vision_proj.");
  if (vision && has_part(tensors, "text_encoder.encoder.layer.0.crossattention.self0.")) {
    return Architecture::nlvr;
  }
  if (vision && encoder && decoder) {
    return itc ? Architecture::pretrain : Architecture::question_answering;
  }
  if (vision && encoder && itc && has_part(tensors, "itm_head.")) return Architecture::retrieval;
  if (vision && decoder) return Architecture::captioning;
  throw Error(ErrorCode::unsupported,
              tensors.origin() +
                  " is no checkpoint of BLIP: its tensors are not those of any "
                  "model of the original code");
}

int vision_heads(const TensorStore& tensors, int width, const AuthorsOptions& options) {
  if (options.vision_heads > 0) return options.vision_heads;
  if (width % kHeadWidth == 0) return width / kHeadWidth;
  throw Error(ErrorCode::usage, tensors.origin() +
                                    " does not tell how many attention heads its vision encoder of "
                                    "width " +
                                    std::to_string(width) + " has: give vision_heads");
}

VisionConfig vision_of(const TensorStore& tensors, const AuthorsOptions& options) {
  const std::string embeddings = "vision_model.embeddings.";
  const std::string layers = "vision_model.encoder.layers.";
  VisionConfig vision;
  vision.hidden_size = dimension(tensors, embeddings + "patch_embedding.weight", 4, 0);
  vision.patch_size = dimension(tensors, embeddings + "patch_embedding.weight", 4, 2);
  const int patches = dimension(tensors, embeddings + "position_embedding", 3, 1) - 1;
  const int side = static_cast<int>(std::lround(std::sqrt(std::max(patches, 0))));
  constexpr int kMaxPatch = 1 << 10;
  if (side * side != patches || vision.patch_size > kMaxPatch) {
    fail(tensors, "its position embedding is for " + std::to_string(patches) +
                      " patches, which make no square picture");
  }
  vision.image_size = side * vision.patch_size;
  vision.num_hidden_layers = count_layers(tensors, layers, ".layer_norm1.weight");
  vision.intermediate_size = dimension(tensors, layers + "0.mlp.fc1.weight", 2, 0);
  vision.num_attention_heads = vision_heads(tensors, vision.hidden_size, options);
  vision.layer_norm_eps = 1e-6f;
  return vision;
}

int text_heads(const TensorStore& tensors, int width, const Json& med_config) {
  if (med_config.is_object() && med_config.contains("num_attention_heads")) {
    const Json& heads = med_config["num_attention_heads"];
    if (!heads.is_number_integer() || heads < 1 || heads > width || width % heads.get<int>() != 0) {
      fail(tensors, "med_config.json gives \"num_attention_heads\" as " + in_quotes(heads.dump()) +
                        ", which does not divide the text width of " + std::to_string(width));
    }
    return heads.get<int>();
  }
  if (width % kHeadWidth == 0) return width / kHeadWidth;
  throw Error(ErrorCode::usage,
              tensors.origin() +
                  " does not tell how many attention heads its text model of "
                  "width " +
                  std::to_string(width) +
                  " has: put the med_config.json that it was trained with beside it");
}

TextConfig text_of(const TensorStore& tensors, const Json& med_config) {
  const bool encoder = has_part(tensors, "text_encoder.");
  const std::string prefix = encoder ? "text_encoder." : "text_decoder.bert.";
  const std::string layers = prefix + "encoder.layer.";
  const std::string cross = layers + "0.crossattention.";
  const std::string attention = tensors.contains(cross + "self.key.weight") ? "self" : "self0";
  TextConfig text;
  text.vocab_size = dimension(tensors, prefix + "embeddings.word_embeddings.weight", 2, 0);
  text.hidden_size = dimension(tensors, prefix + "embeddings.word_embeddings.weight", 2, 1);
  text.max_position_embeddings =
      dimension(tensors, prefix + "embeddings.position_embeddings.weight", 2, 0);
  text.encoder_hidden_size = dimension(tensors, cross + attention + ".key.weight", 2, 1);
  text.intermediate_size = dimension(tensors, layers + "0.intermediate.dense.weight", 2, 0);
  text.num_hidden_layers = count_layers(tensors, layers, ".attention.self.query.weight");
  text.num_attention_heads = text_heads(tensors, text.hidden_size, med_config);
  return text;
}

}  // namespace

BlipConfig authors_config(const TensorStore& tensors, const Json& med_config,
                          const AuthorsOptions& options) {
  BlipConfig config;
  config.architecture = architecture_of(tensors);
  config.vision = vision_of(tensors, options);
  config.text = text_of(tensors, med_config);
  if (tensors.contains("vision_proj.weight")) {
    config.image_text_hidden_size = dimension(tensors, "vision_proj.weight", 2, 0);
  }
  validate(config, tensors.origin());
  return config;
}

}  // namespace blip
