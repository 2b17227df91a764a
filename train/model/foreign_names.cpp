#include "train/model/foreign_names.h"

#include <cstring>
#include <memory>
#include <vector>

#include "blip/base/error.h"
#include "blip/checkpoint/names.h"

namespace blip::train {
namespace {

struct Rename {
  std::string_view from, to;
};

/// Beginnings of transformers' names of a ViT.
constexpr Rename kVit[] = {
    {"embeddings.cls_token", "embeddings.class_embedding"},
    {"embeddings.position_embeddings", "embeddings.position_embedding"},
    {"embeddings.patch_embeddings.projection.", "embeddings.patch_embedding."},
    {"layernorm.", "post_layernorm."},
};
/// The same below encoder.layer.N.
constexpr Rename kVitLayer[] = {
    {"layernorm_before.", "layer_norm1."},
    {"layernorm_after.", "layer_norm2."},
    {"attention.output.dense.", "self_attn.projection."},
    {"intermediate.dense.", "mlp.fc1."},
    {"output.dense.", "mlp.fc2."},
};

/// The new name where the table has its beginning, else nothing.
template <std::size_t N>
std::string renamed(std::string_view name, const Rename (&table)[N]) {
  for (const Rename& rule : table) {
    if (name.starts_with(rule.from))
      return std::string(rule.to) + std::string(name.substr(rule.from.size()));
  }
  return "";
}

std::string_view without(std::string_view name, std::initializer_list<std::string_view> prefixes) {
  for (const std::string_view prefix : prefixes) {
    if (name.starts_with(prefix)) return name.substr(prefix.size());
  }
  return name;
}

StoredTensor stored(Shape shape, std::vector<float> values) {
  const auto kept = std::make_shared<const std::vector<float>>(std::move(values));
  return {DType::f32, std::move(shape), std::as_bytes(std::span(*kept)), kept};
}

/// One below the other.
StoredTensor stacked(const TensorStore& store, const std::vector<std::string>& names) {
  Shape shape;
  std::vector<float> values;
  for (const std::string& name : names) {
    Shape expected = shape;
    if (!expected.empty()) expected[0] = -1;
    const StoredTensor* found = store.find(name);
    const Weight part = store.weight(name, expected.empty() && found ? found->shape : expected);
    if (part.shape().empty()) {
      throw Error(ErrorCode::bad_model, store.origin() + ": " + in_quotes(name) + " is a scalar");
    }
    if (shape.empty()) {
      shape = part.shape();
    } else {
      shape[0] += part.dim(0);
    }
    values.insert(values.end(), part.span().begin(), part.span().end());
  }
  return stored(std::move(shape), std::move(values));
}

/// [1, 2 + N, D] without the second row.
StoredTensor without_distillation(const TensorStore& store, const std::string& name) {
  const Weight positions = store.weight(name, {1, -1, -1});
  if (positions.dim(1) < 2)
    return stored(positions.shape(), {positions.data(), positions.data() + positions.size()});
  const std::size_t width = static_cast<std::size_t>(positions.dim(2));
  std::vector<float> kept(positions.data(), positions.data() + width);
  kept.insert(kept.end(), positions.data() + 2 * width, positions.data() + positions.size());
  return stored({1, positions.dim(1) - 1, positions.dim(2)}, std::move(kept));
}

void add_vit_layer(const TensorStore& vit, const std::string& name, std::string_view rest,
                   const std::string& layer, TensorStore& out) {
  constexpr std::string_view kQuery = "attention.attention.query.";
  if (rest.starts_with(kQuery)) {
    const std::string kind(rest.substr(kQuery.size()));
    const std::string self = name.substr(0, name.size() - kind.size() - 6);  // less "query."
    out.add(layer + "self_attn.qkv." + kind,
            stacked(vit, {self + "query." + kind, self + "key." + kind, self + "value." + kind}));
  } else if (const std::string ours = renamed(rest, kVitLayer); !ours.empty()) {
    out.add(layer + ours, *vit.find(name));
  }
}

void add_transformers_vit(const TensorStore& vit, const std::string& name, TensorStore& out) {
  constexpr std::string_view kLayers = "encoder.layer.";
  const std::string_view inner = without(name, {"vit.", "deit."});
  if (inner.starts_with(kLayers)) {
    const std::string_view layer = inner.substr(kLayers.size());
    const std::size_t dot = std::min(layer.find('.'), layer.size());
    add_vit_layer(vit, name, layer.substr(std::min(dot + 1, layer.size())),
                  "vision_model.encoder.layers." + std::string(layer.substr(0, dot)) + ".", out);
  } else if (const std::string ours = renamed(inner, kVit); !ours.empty()) {
    out.add("vision_model." + ours, *vit.find(name));
  }
}

}  // namespace

TensorStore vit_as_blip(const TensorStore& vit) {
  const bool timm = vit.contains("blocks.0.attn.qkv.weight");
  TensorStore out;
  bool distilled = false;
  for (const auto& [name, tensor] : vit.tensors()) {
    if (name == "dist_token" || name.ends_with("embeddings.distillation_token")) distilled = true;
  }
  out.set_origin(vit.origin());
  for (const auto& [name, tensor] : vit.tensors()) {
    const bool positions = name == "pos_embed" || name.ends_with("embeddings.position_embeddings");
    if (distilled && positions) {
      out.add("vision_model.embeddings.position_embedding", without_distillation(vit, name));
    } else if (timm) {
      out.add(transformers_name("visual_encoder." + name), tensor);
    } else {
      add_transformers_vit(vit, name, out);
    }
  }
  if (out.contains("vision_model.encoder.layers.0.self_attn.qkv.weight")) return out;
  throw Error(ErrorCode::unsupported, vit.origin() +
                                          " is no ViT: it has neither timm's "
                                          "\"blocks.0.attn.qkv.weight\" nor transformers' "
                                          "\"encoder.layer.0.attention.attention.query.weight\"");
}

TensorStore bert_as_blip(const TensorStore& bert) {
  TensorStore out;
  out.set_origin(bert.origin());
  for (const auto& [name, tensor] : bert.tensors()) {
    std::string inner(without(name, {"bert."}));
    // As the first BERT files spell them.
    if (inner.ends_with(".gamma")) inner.replace(inner.size() - 5, 5, "weight");
    if (inner.ends_with(".beta")) inner.replace(inner.size() - 4, 4, "bias");
    if (inner.starts_with("cls.predictions.")) {
      out.add("text_decoder." + inner, tensor);
    } else if (inner.starts_with("embeddings.") || inner.starts_with("encoder.layer.")) {
      out.add("text_encoder." + inner, tensor);
    }
  }
  if (out.contains("text_encoder.encoder.layer.0.attention.self.query.weight")) return out;
  throw Error(ErrorCode::unsupported, bert.origin() +
                                          " is no BERT: it has no "
                                          "\"encoder.layer.0.attention.self.query.weight\"");
}

}  // namespace blip::train
