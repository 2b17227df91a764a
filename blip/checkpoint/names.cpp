#include "blip/checkpoint/names.h"

#include <algorithm>

namespace blip {
namespace {

struct Rename {
  std::string_view authors;
  std::string_view transformers;
};

constexpr Rename kVision = {"visual_encoder.", "vision_model."};
constexpr Rename kBlock = {"blocks.", "encoder.layers."};

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

using Side = std::string_view Rename::*;

/// `name` with its beginning, when the table has it on the side `from`, as it is on the other.
template <std::size_t N>
std::string renamed(std::string_view name, const Rename (&table)[N], Side from, Side to) {
  for (const Rename& rule : table) {
    if (name.starts_with(rule.*from)) {
      return std::string(rule.*to) + std::string(name.substr((rule.*from).size()));
    }
  }
  return std::string(name);
}

/// The name of a tensor that may be the vision encoder's.
std::string translated(std::string_view whole, Side from, Side to) {
  if (!whole.starts_with(kVision.*from)) return std::string(whole);
  const std::string_view name = whole.substr((kVision.*from).size());
  const std::string vision(kVision.*to);
  if (!name.starts_with(kBlock.*from)) return vision + renamed(name, kVisionNames, from, to);
  const std::string_view block = name.substr((kBlock.*from).size());
  const std::size_t dot = std::min(block.find('.'), block.size());
  const std::string_view rest = block.substr(std::min(dot + 1, block.size()));
  return vision + std::string(kBlock.*to) + std::string(block.substr(0, dot)) + "." +
         renamed(rest, kBlockNames, from, to);
}

bool is_dropped(std::string_view name) {
  const std::string_view module = name.substr(0, name.find('.'));
  return module.ends_with("_m") || name.ends_with(".position_ids") ||
         std::find(std::begin(kDropped), std::end(kDropped), name) != std::end(kDropped);
}

}  // namespace

std::string transformers_name(std::string_view authors_name) {
  if (is_dropped(authors_name)) return "";
  return translated(authors_name, &Rename::authors, &Rename::transformers);
}

std::string authors_name(std::string_view transformers_name) {
  return translated(transformers_name, &Rename::transformers, &Rename::authors);
}

}  // namespace blip
