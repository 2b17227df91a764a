#include "blip/dataset/picture_files.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <system_error>

#include "blip/base/error.h"

namespace blip {
namespace {

constexpr std::string_view kExtensions[] = {".jpg",  ".jpeg", ".jpe", ".png", ".webp", ".tif",
                                            ".tiff", ".gif",  ".bmp", ".ppm", ".pgm",  ".pnm"};

template <class Iterator>
void collect(Iterator entries, std::vector<std::filesystem::path>& found) {
  for (const std::filesystem::directory_entry& entry : entries) {
    std::error_code ignored;
    if (entry.is_regular_file(ignored) && is_picture_name(entry.path()))
      found.push_back(entry.path());
  }
}

}  // namespace

bool is_picture_name(const std::filesystem::path& file) {
  std::string extension = file.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return std::find(std::begin(kExtensions), std::end(kExtensions), extension) !=
         std::end(kExtensions);
}

std::vector<std::filesystem::path> pictures_in(const std::filesystem::path& folder,
                                               bool recursive) {
  std::vector<std::filesystem::path> found;
  try {
    if (recursive) {
      constexpr auto kSkip = std::filesystem::directory_options::skip_permission_denied;
      collect(std::filesystem::recursive_directory_iterator(folder, kSkip), found);
    } else {
      collect(std::filesystem::directory_iterator(folder), found);
    }
  } catch (const std::filesystem::filesystem_error& e) {
    throw Error(ErrorCode::io, "cannot list " + folder.string() + ": " + e.code().message());
  }
  if (found.empty()) {
    throw Error(ErrorCode::not_found,
                "no picture files in the folder " + folder.string() +
                    (recursive ? "" : " (folders below it are read with --recursive)"));
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace blip
