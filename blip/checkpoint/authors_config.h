#pragma once

#include "blip/base/json.h"
#include "blip/checkpoint/checkpoint.h"
#include "blip/checkpoint/config.h"
#include "blip/checkpoint/tensor_store.h"

namespace blip {

/// The configuration of an authors' .pth, which carries none: the architecture from which tensors
/// there are (under transformers' names), sizes from their shapes, the text's heads from
/// med_config.json (null when there is none; then hidden_size / 64). Of med_config.json nothing
/// else is believed: the authors' code overwrites its encoder_width. Throws Error{unsupported} for
/// a checkpoint that is not BLIP's; Error{bad_model} for tensors that are missing or contradict
/// each other; Error{usage} when the number of heads must be given.
BlipConfig authors_config(const TensorStore& tensors, const Json& med_config,
                          const AuthorsOptions& options);

}  // namespace blip
