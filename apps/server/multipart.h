#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace blip::server {

/// A part of a multipart/form-data body. `body` points into the body that was parsed.
struct Part {
  std::string name;
  std::string filename;  ///< empty: a field, not a file
  std::string content_type;
  std::string_view body;
};

/// The boundary of a Content-Type of multipart/form-data. Throws Error{usage} when it has none.
std::string boundary_of(std::string_view content_type);

/// The parts of `body` (RFC 7578), at most 256 with at most 8 KiB of headers each.
/// Throws Error{usage} when it is cut short or malformed.
std::vector<Part> parse_multipart(std::string_view body, std::string_view boundary);

}  // namespace blip::server
