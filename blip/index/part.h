#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>

#include "blip/base/file.h"

namespace blip {

/// A file of an index that is written whole and never changed: its size, and the checksum of its
/// first bytes, as the manifest states them. How many bytes are checked is up to who writes it.
struct IndexPart {
  std::uint64_t bytes = 0;
  std::uint64_t checksum = 0;
};

/// "<stem>.<number>" in the folder.
std::filesystem::path part_path(const std::filesystem::path& folder, std::string_view stem,
                                std::uint64_t number);

/// Maps the file. Throws Error{not_found}, Error{io} also when it has not the size of `part`.
std::shared_ptr<const MappedFile> open_part(const std::filesystem::path& file,
                                            const IndexPart& part);
/// Throws Error{io} unless the first `checked` bytes have the checksum of `part`.
void require_checksum(const MappedFile& file, std::size_t checked, const IndexPart& part);
/// What the manifest is to state of a file that was written, which is on disk afterwards.
IndexPart finish_part(const MappedFile& file, std::size_t checked);

}  // namespace blip
