#pragma once

#include <filesystem>
#include <vector>

namespace blip {

/// Whether the end of the file's name is one of a picture's, such as .jpg.
bool is_picture_name(const std::filesystem::path& file);

/// The picture files of a folder, told by the ends of their names, in the order of their paths;
/// with `recursive` those of folders below too. Throws Error{not_found} when there are none,
/// Error{io}.
std::vector<std::filesystem::path> pictures_in(const std::filesystem::path& folder, bool recursive);

}  // namespace blip
