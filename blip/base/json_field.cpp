#include "blip/base/json_field.h"

#include <limits>
#include <stdexcept>

namespace blip {

void read_field(const Json& value, bool& field) {
  field = value.get<bool>();
}

void read_field(const Json& value, int& field) {
  if (!value.is_number_integer()) throw std::invalid_argument("not an integer");
  constexpr std::int64_t kMax = std::numeric_limits<int>::max();
  // The parser holds what is not negative as unsigned, up to 2^64 - 1.
  const bool above = value.is_number_unsigned() && value.get<std::uint64_t>() > kMax;
  if (above || value.get<std::int64_t>() < std::numeric_limits<int>::min() ||
      value.get<std::int64_t>() > kMax) {
    throw std::invalid_argument("not an int");
  }
  field = value.get<int>();
}

void read_field(const Json& value, std::optional<int>& field) {
  int number = 0;
  read_field(value, number);
  field = number;
}

void read_field(const Json& value, std::uint64_t& field) {
  const bool negative = !value.is_number_unsigned() && value.get<std::int64_t>() < 0;
  if (!value.is_number_integer() || negative) throw std::invalid_argument("not an integer from 0");
  field = value.get<std::uint64_t>();
}

void read_field(const Json& value, double& field) {
  if (!value.is_number()) throw std::invalid_argument("not a number");
  field = value.get<double>();
}

void read_field(const Json& value, std::string& field) {
  field = value.get<std::string>();
}

void read_field(const Json& value, std::vector<std::string>& field) {
  field = value.get<std::vector<std::string>>();
}

}  // namespace blip
