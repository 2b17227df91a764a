#include "blip/checkpoint/names.h"

#include <algorithm>

namespace blip {
namespace {

struct Rename {
  std::string_view authors;
  std::string_view transformers;
};

constexpr std::string_view kVision = "visual_encoder.";
constexpr std::string_view kBlock = "blocks.";

/// Beginnings of names below visual_encoder.
constexpr Rename kVisionNames[] = {
    {"cls_token", "embeddings.class_embedding"},
    {"pos_embed", "embeddings.position_embedding"},
    {"patch_embed.proj.", "embeddings.patch_embedding."},
    {"norm.", "post_layernorm."},
};

/// Beginnings of names below visual_encoder.blocks.N.
constexpr Rename kBlockNames[] = {
    {"norm1.", "layer_norm1."},
    {"norm2.", "layer_norm2."},
    {"attn.qkv.", "self_attn.qkv."},
    {"attn.proj.", "self_attn.projection."},
};

/// Training state that inference has no use for.
constexpr std::string_view kDropped[] = {"temp",      "image_queue", "text_queue",
                                         "idx_queue", "queue_ptr",   "ptr_queue"};

template <std::size_t N>
std::string renamed(std::string_view name, const Rename (&table)[N]) {
  for (const Rename& rule : table) {
    if (name.starts_with(rule.authors)) {
      return std::string(rule.transformers) + std::string(name.substr(rule.authors.size()));
    }
  }
  return std::string(name);
}

bool is_dropped(std::string_view name) {
  const std::string_view module = name.substr(0, name.find('.'));
  return module.ends_with("_m") || name.ends_with(".position_ids") ||
         std::find(std::begin(kDropped), std::end(kDropped), name) != std::end(kDropped);
}

}  // namespace

std::string transformers_name(std::string_view authors_name) {
  if (is_dropped(authors_name)) return "";
  if (!authors_name.starts_with(kVision)) return std::string(authors_name);
  const std::string_view name = authors_name.substr(kVision.size());
  if (!name.starts_with(kBlock)) return "vision_model." + renamed(name, kVisionNames);
  const std::string_view block = name.substr(kBlock.size());
  const std::size_t dot = std::min(block.find('.'), block.size());
  const std::string_view rest = block.substr(std::min(dot + 1, block.size()));
  return "vision_model.encoder.layers." + std::string(block.substr(0, dot)) + "." +
         renamed(rest, kBlockNames);
}

}  // namespace blip
