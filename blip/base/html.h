#pragma once

#include <string>
#include <string_view>

namespace blip {

/// `text` with what HTML gives a meaning to replaced, for elements and attributes.
std::string escape_html(std::string_view text);

/// "data:TYPE;base64,..." (RFC 2397), so that a page holds its pictures.
std::string data_uri(std::string_view type, std::string_view bytes);

}  // namespace blip
