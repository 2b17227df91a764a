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

/// openapi.json: what the API is.
std::string_view openapi_json();
/// mcp_tools.json: the definitions of all tools, with all their arguments.
std::string_view mcp_tools_json();

}  // namespace blip::server
