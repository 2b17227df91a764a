#include "apps/cli/inputs.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "apps/cli/stop.h"
#include "blip/base/error.h"
#include "blip/dataset/picture_files.h"

namespace blip::cli {
namespace {

constexpr std::size_t kMaxStandardInput = std::size_t{1} << 30;

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
