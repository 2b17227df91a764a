#pragma once

#include <string>
#include <string_view>

namespace blip {

/// The transformers name of an authors' tensor, such as "vision_model.post_layernorm.weight" for
/// "visual_encoder.norm.weight". Tensors that have no transformers form (NLVR2's two
/// cross-attentions, cls_head) keep their own. Empty for what inference does not use: momentum
/// copies (*_m), queues, temp, position_ids.
std::string transformers_name(std::string_view authors_name);

/// The other way round: "visual_encoder.norm.weight" for "vision_model.post_layernorm.weight".
std::string authors_name(std::string_view transformers_name);

}  // namespace blip
