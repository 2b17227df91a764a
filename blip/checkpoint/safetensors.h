#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "blip/checkpoint/tensor_store.h"

namespace blip {

/// Adds the tensors of a .safetensors file to `store`. The file is mapped, not read; every offset,
/// size and shape of the header is checked against the file first. Tensors of an element type that
/// has no reader are kept by name only (TensorStore::add_unreadable).
/// Throws Error{not_found, io, bad_model}.
void read_safetensors(const std::filesystem::path& file, TensorStore& store);

/// The same from memory, which `keep_alive` owns. `where` names it in messages.
void read_safetensors(std::span<const std::byte> bytes, std::shared_ptr<const void> keep_alive,
                      const std::string& where, TensorStore& store);

/// Writes tensors with `metadata`, whole or not at all. Types of wider elements come first, as the
/// format's own writer does, so that every tensor lies aligned; the order is kept within a type.
/// Throws Error{io}, Error{internal} for a tensor whose bytes do not fit its shape.
void write_safetensors(const std::filesystem::path& file,
                       const std::vector<std::pair<std::string, StoredTensor>>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace blip
