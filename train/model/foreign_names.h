#pragma once

#include "blip/checkpoint/tensor_store.h"

namespace blip::train {

/// The tensors of a ViT or DeiT, in timm's names or transformers', as "vision_model.*". Queries,
/// keys and values that are apart become one; a distillation token and its position are left out.
/// Throws Error{unsupported} for a file that is neither.
TensorStore vit_as_blip(const TensorStore& vit);

/// The tensors of a BERT in transformers' names as "text_encoder.*", and of its language-modelling
/// head as "text_decoder.cls.*". Throws Error{unsupported} for a file that is none.
TensorStore bert_as_blip(const TensorStore& bert);

}  // namespace blip::train
