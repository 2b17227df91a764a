#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "train/model/task.h"

namespace blip::train {

/// What became of a task's parameters when weights were loaded.
struct LoadReport {
  std::size_t loaded = 0;
  std::vector<std::string> missing;    ///< the file has nothing for them: left as they were
  std::vector<std::string> misshapen;  ///< the file's are of another shape: left as they were
};

/// Loads any BLIP checkpoint of either family (a folder, one of its weight files, a .pth), as far
/// as its parts go. Where the checkpoint lacks what the task needs it takes the nearest: NLVR2's
/// two cross-attentions both from the one, a decoder from the encoder and the other way round.
/// Position embeddings of another picture size are interpolated. A .pth's momentum copies and
/// queues are loaded where they fit; else the copies become the model. Throws Error{not_found, io,
/// bad_model, unsupported}, Error{usage} when nothing fits.
LoadReport load_checkpoint(Task& task, const std::filesystem::path& path);

/// Loads the vision encoder from a ViT or DeiT: timm's names or transformers'. Throws as above.
LoadReport load_vision(Task& task, const std::filesystem::path& path);

/// Loads text encoder and decoder from a BERT in transformers' names; cross-attention stays as it
/// is. Rows for [DEC] and [ENC], which BERT lacks, stay random. Throws as above.
LoadReport load_text(Task& task, const std::filesystem::path& path);

}  // namespace blip::train
