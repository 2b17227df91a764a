#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace blip {

/// Entries of a zip archive by name, as views of its bytes.
using ZipEntries = std::map<std::string_view, std::span<const std::byte>>;

/// Reads the directory of a zip archive, zip64 or not, whose entries are stored uncompressed.
/// torch.save never compresses, so a tensor is a slice of the file; archive libraries hand out
/// copies of entries, not where they lie, which is why this is read here.
/// `where` names the archive in messages.
/// Throws Error{bad_model} for damage, Error{unsupported} for a compressed or encrypted entry.
ZipEntries read_zip_directory(std::span<const std::byte> bytes, const std::string& where);

}  // namespace blip
