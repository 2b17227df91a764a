#include "apps/cli/inputs.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "apps/cli/stop.h"
#include "blip/base/error.h"

namespace blip::cli {
namespace {

constexpr std::string_view kExtensions[] = {".jpg",  ".jpeg", ".jpe", ".png", ".webp", ".tif",
                                            ".tiff", ".gif",  ".bmp", ".ppm", ".pgm",  ".pnm"};
constexpr std::size_t kMaxStandardInput = std::size_t{1} << 30;

bool is_picture(const std::filesystem::path& file) {
  std::string extension = file.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return std::find(std::begin(kExtensions), std::end(kExtensions), extension) !=
         std::end(kExtensions);
}

template <class Iterator>
void collect(Iterator entries, std::vector<std::filesystem::path>& found) {
  for (const std::filesystem::directory_entry& entry : entries) {
    std::error_code ignored;
    if (entry.is_regular_file(ignored) && is_picture(entry.path())) found.push_back(entry.path());
  }
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

std::string read_standard_input() {
  std::string content;
  char block[65536];
  for (;;) {
    const ssize_t n = ::read(STDIN_FILENO, block, sizeof block);
    if (n < 0 && errno == EINTR) {
      if (stop_requested()) throw Error(ErrorCode::cancelled, "stopped on request");
      continue;
    }
    if (n < 0)
      throw Error(ErrorCode::io,
                  std::string("cannot read standard input: ") + std::strerror(errno));
    if (n == 0) return content;
    content.append(block, static_cast<std::size_t>(n));
    if (content.size() > kMaxStandardInput) {
      throw Error(ErrorCode::too_large, "more than 1 GiB came on standard input");
    }
  }
}

}  // namespace

std::vector<PictureInput> expand_inputs(const std::vector<std::string>& arguments, bool recursive) {
  std::vector<PictureInput> inputs;
  bool standard_input = false;
  std::error_code ignored;  // what cannot be looked at fails when it is opened, with its reason
  for (const std::string& argument : arguments) {
    if (argument == "-") {
      if (standard_input)
        throw Error(ErrorCode::usage, "standard input (-) can be named only once");
      standard_input = true;
      inputs.push_back({"-", {}});
    } else if (argument.find("://") != std::string::npos &&
               !std::filesystem::exists(argument, ignored)) {
      throw Error(ErrorCode::usage,
                  "URLs are not fetched: download " + in_quotes(argument) + " and name the file");
    } else if (std::filesystem::is_directory(argument, ignored)) {
      for (const std::filesystem::path& path : pictures_in(argument, recursive))
        inputs.push_back({path.string(), path});
    } else {
      inputs.push_back({argument, argument});
    }
  }
  return inputs;
}

Image load_input(const PictureInput& input, const ImageOptions& options) {
  if (!input.path.empty()) return load_image(input.path, options);
  const std::string content = read_standard_input();
  try {
    return decode_image(std::as_bytes(std::span(content)), options);
  } catch (const Error& e) {
    throw Error(e.code(), std::string("standard input: ") + e.what());
  }
}

}  // namespace blip::cli
