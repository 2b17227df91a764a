#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "blip/checkpoint/pickle.h"

namespace blip {

/// A file of torch.save taken apart: the object, and the raw storages that its tensors refer to.
struct TorchArchive {
  Pickle object;
  std::map<std::string_view, std::span<const std::byte>> storages;  ///< by key
};

/// What a Kind::storage value says of itself. Counts are in elements.
struct StorageId {
  DType dtype = DType::f32;
  std::string_view key;
  std::uint64_t count = 0;
  std::uint64_t view_offset = 0;            ///< the part of the storage that is meant, which
  std::optional<std::uint64_t> view_count;  ///< only the older form ever narrows
};

/// Throws Error{bad_model} when the identifying tuple is not of torch.save's form.
StorageId storage_id(const Pickle& pickle, const PickleValue& storage, const std::string& where);

/// Opens either form: the zip archive (torch >= 1.6) or the older sequence of pickles followed by
/// the storages. Everything returned views `bytes`; `where` names them in messages.
/// Throws Error{bad_model}, Error{unsupported} for other forms and as read_pickle does.
TorchArchive read_torch_archive(std::span<const std::byte> bytes, const std::string& where);

}  // namespace blip
