#pragma once

#include <filesystem>
#include <vector>

namespace blip {

/// The picture files of a folder, told by the ends of their names, in the order of their paths;
/// with `recursive` those of folders below too. Throws Error{not_found} when there are none,
/// Error{io}.
std::vector<std::filesystem::path> pictures_in(const std::filesystem::path& folder, bool recursive);

}  // namespace blip
