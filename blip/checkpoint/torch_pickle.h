#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "blip/checkpoint/tensor_store.h"

namespace blip {

/// Adds the tensors of a file written by torch.save to `store`: the zip form (torch >= 1.6) and the
/// older form of concatenated pickles. The file holds a dictionary; when one of its entries
/// "model", "state_dict" or "module" is a dictionary with tensors, the first such is taken, else
/// the dictionary itself. Names are its keys, less the "module." that all begin with when a
/// data-parallel model was saved. Everything else in the file (optimizer, config, epoch) is
/// ignored.
///
/// The pickle reader is restricted: it builds tensors, numbers, strings, tuples, lists and
/// dictionaries. A pickle that asks for any other global is refused by name, nothing is executed.
/// Contiguous tensors are views of the mapped file; transposed ones are copied into order.
/// Throws Error{not_found, io, bad_model, too_large}; Error{unsupported} for a refused global.
void read_torch_pickle(const std::filesystem::path& file, TensorStore& store);

/// The same from memory, which `keep_alive` owns. `where` names it in messages.
void read_torch_pickle(std::span<const std::byte> bytes, std::shared_ptr<const void> keep_alive,
                       const std::string& where, TensorStore& store);

}  // namespace blip
