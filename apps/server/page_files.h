#pragma once

#include <span>
#include <string_view>

namespace blip::server {

/// A file of web/, which is part of the program.
struct PageFile {
  std::string_view path;  ///< below web/
  std::string_view content;
};

std::span<const PageFile> page_files();

}  // namespace blip::server
