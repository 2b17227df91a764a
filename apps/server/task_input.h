#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "blip/base/json.h"

namespace blip::server {

/// What a request brings: its fields, and the bytes of its pictures as they were sent.
struct TaskInput {
  Json fields = Json::object();
  std::vector<std::string> images;
};

/// Reads the three ways in: multipart/form-data (file parts "image"), JSON ("image", or "images",
/// in base64 or as data URIs), and the bytes of a picture with the fields in `query`.
/// Throws Error{usage} for what is malformed.
TaskInput read_task_input(std::string_view content_type, std::string_view query, std::string body);

/// Whether a Content-Type is `type`, which is in lower case; parameters and case do not count.
bool is_of_type(std::string_view content_type, std::string_view type);

/// JSON that came with a request. Throws Error{usage}, also for over 100,000 values.
Json parse_request_json(std::string_view text);

/// What stands in a URL with its %-escapes, and, in queries, with + for spaces.
/// Throws Error{usage} for a broken escape.
std::string percent_decode(std::string_view text, bool plus_is_space);

/// {"name": "value", ...} of a query string or an urlencoded form; a name that comes again becomes
/// an array. Throws Error{usage} for a broken %-escape or over 1000 values.
Json parse_query(std::string_view query);

}  // namespace blip::server
