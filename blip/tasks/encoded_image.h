#pragma once

#include <mutex>

#include "blip/base/tensor.h"
#include "blip/model/med.h"
#include "blip/tasks/engine.h"

namespace blip {

struct EncodedImage::Data {
  const void* engine = nullptr;  ///< identity of the Engine::Data that encoded it
  Tensor image_embeds;           ///< [N, D]

  // Cross-attention keys and values are made for the first task that needs them, then kept.
  mutable std::once_flag projected;
  mutable CrossKeysValues keys_values;
};

}  // namespace blip
