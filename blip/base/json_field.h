#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "blip/base/json.h"

namespace blip {

/// Sets `field` to a JSON value of its type; numbers must fit. Throw std::exception of any kind for
/// another value, and leave `field` as it was: the caller knows what to call it.
void read_field(const Json& value, bool& field);
void read_field(const Json& value, int& field);
void read_field(const Json& value, std::optional<int>& field);
void read_field(const Json& value, std::uint64_t& field);
void read_field(const Json& value, double& field);
void read_field(const Json& value, std::string& field);
void read_field(const Json& value, std::vector<std::string>& field);

}  // namespace blip
