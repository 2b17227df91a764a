#pragma once

#include <string>
#include <string_view>

namespace blip::server {

/// The bytes of base64 text (RFC 4648, either alphabet, padded or not, white space left out).
/// Throws Error{usage} for anything else.
std::string decode_base64(std::string_view text);

/// What stands behind "data:...;base64," of a data URI, else the text itself, decoded.
/// Throws Error{usage}; also for a URI of another scheme, which would have to be fetched.
std::string decode_data_uri(std::string_view text);

}  // namespace blip::server
