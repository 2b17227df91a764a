#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "blip/base/tensor.h"

namespace blip {

/// Writes {"model": {name: tensor, ...}} as torch.save does (its zip form), whole or not at all.
/// Tensors whose bytes are the same memory share a storage, as tied parameters do.
/// Throws Error{io}, Error{internal} for a tensor whose bytes do not fit its shape.
void write_torch_pickle(const std::filesystem::path& file,
                        const std::vector<std::pair<std::string, StoredTensor>>& tensors);

}  // namespace blip
