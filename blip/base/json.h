#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace blip {

/// The project's one door to JSON. Keys keep their order.
using Json = nlohmann::ordered_json;

/// `json` as text, on one line or indented; bytes in it that are not UTF-8 become U+FFFD.
std::string dump(const Json& json, int indent = -1);

/// Parses `text`. `where` names its origin in the message.
/// Throws Error{bad_model} when it is not JSON, nests deeper than 64 levels, or has so many keys in
/// one object (over some 44,000) that keeping their order would take long.
Json parse_json(std::string_view text, std::string_view where);

/// Reads and parses a file of at most 256 MiB.
/// Throws Error{not_found, io, too_large, bad_model}.
Json read_json(const std::filesystem::path& file);

}  // namespace blip
