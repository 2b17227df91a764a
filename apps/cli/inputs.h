#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "blip/image/decode.h"

namespace blip::cli {

/// A picture named on the command line or found in a folder named there.
struct PictureInput {
  std::string name;            ///< as shown to the user
  std::filesystem::path path;  ///< empty: standard input
};

/// Expands files, folders (their picture files, by name; with `recursive` those of folders below
/// too) and "-". A file that is named but does not exist stays in the list: it fails by itself.
/// Throws Error{usage} for a URL or "-" twice, Error{not_found} for a folder without pictures.
std::vector<PictureInput> expand_inputs(const std::vector<std::string>& arguments, bool recursive);

/// Reads and decodes one. Throws blip::Error.
Image load_input(const PictureInput& input, const ImageOptions& options);

}  // namespace blip::cli
