#pragma once

#include <filesystem>
#include <string_view>

#include "blip/checkpoint/tensor_store.h"

namespace blip {

/// Adds the tensors of one file to `store`: a safetensors file by its ending, else one of
/// torch.save. Throws as read_safetensors and read_torch_pickle do.
void read_weight_file(const std::filesystem::path& file, TensorStore& store);

/// Adds the tensors of a folder in the Hugging Face layout: the first of model.safetensors,
/// model.safetensors.index.json with its shards, pytorch_model.bin, pytorch_model.bin.index.json.
/// Throws Error{not_found} saying what was looked for when there is none, or naming a missing
/// shard; Error{bad_model} for an index that points outside the folder; and as read_weight_file
/// does.
void read_weight_folder(const std::filesystem::path& folder, TensorStore& store);

/// Instead of ".weight" at the end of a name: a matrix in panels (model/parameters.h).
inline constexpr std::string_view kWeightPanels = ".weight_panels";

/// Whether they are what `blip convert` writes: matrices in int8 or in panels, which nothing else
/// reads.
bool is_converted(const TensorStore& tensors);

}  // namespace blip
