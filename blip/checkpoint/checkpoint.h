#pragma once

#include <filesystem>

#include "blip/base/json.h"
#include "blip/checkpoint/config.h"
#include "blip/checkpoint/tensor_store.h"

namespace blip {

/// Who wrote the checkpoint: decides its tokens' and scores' conventions.
enum class CheckpointFamily {
  transformers,  ///< a folder as save_pretrained writes it
  authors,       ///< a .pth of the original code
};

/// What an authors' .pth does not say about itself.
struct AuthorsOptions {
  /// Attention heads of the ViT; 0: its width / 64, as ViT-B and ViT-L have.
  int vision_heads = 0;
};

/// A checkpoint opened: configuration and tensors under transformers' names, both families alike.
struct Checkpoint {
  CheckpointFamily family = CheckpointFamily::transformers;
  BlipConfig config;
  TensorStore tensors;
  Json preprocessor;  ///< preprocessor_config.json; null when there is none
  Json generation;  ///< generation_config.json, else the same keys of config.json; null for a .pth
  /// Whether config.json says that it was converted although its accuracy gate was not passed.
  bool failed_gate = false;
  std::filesystem::path folder;  ///< where vocab.txt and the like are looked for
};

/// Opens a folder in the Hugging Face layout (model.safetensors, its sharded form by
/// model.safetensors.index.json, or pytorch_model.bin and its sharded form; in this order), one of
/// its weight files, or an authors' .pth. A file of torch.save counts as the authors' when its
/// tensors have their names; it takes its text's heads from med_config.json beside it.
/// Throws Error{not_found, io, bad_model, unsupported, too_large}, Error{usage} when a .pth needs
/// AuthorsOptions or a med_config.json to be understood.
Checkpoint open_checkpoint(const std::filesystem::path& path, const AuthorsOptions& options = {});

}  // namespace blip
