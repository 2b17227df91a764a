#include "blip/generation/generation_json.h"

#include <limits>
#include <stdexcept>
#include <string>

#include "blip/base/error.h"

namespace blip {
namespace {

// Each throws any exception for a value that `field` cannot hold.
void read(const Json& value, bool& field) {
  field = value.get<bool>();
}

void read(const Json& value, double& field) {
  if (!value.is_number()) throw std::invalid_argument("not a number");
  field = value.get<double>();
}

void read(const Json& value, std::uint64_t& field) {
  const bool negative = !value.is_number_unsigned() && value.get<std::int64_t>() < 0;
  if (!value.is_number_integer() || negative) throw std::invalid_argument("not an integer from 0");
  field = value.get<std::uint64_t>();
}

void read(const Json& value, int& field) {
  if (!value.is_number_integer()) throw std::invalid_argument("not an integer");
  constexpr std::int64_t kMax = std::numeric_limits<int>::max();
  // The parser holds what is not negative as unsigned, up to 2^64 - 1.
  const bool above = value.is_number_unsigned() && value.get<std::uint64_t>() > kMax;
  if (above || value.get<std::int64_t>() < std::numeric_limits<int>::min()) {
    throw std::invalid_argument("not an int");
  }
  field = value.get<int>();
}

void read(const Json& value, std::optional<int>& field) {
  int number = 0;
  read(value, number);
  field = number;
}

void read(const Json& value, EarlyStopping& field) {
  if (value.is_boolean()) {
    field = value.get<bool>() ? EarlyStopping::yes : EarlyStopping::no;
  } else if (value == "never") {
    field = EarlyStopping::never;
  } else {
    throw std::invalid_argument("not true, false or \"never\"");
  }
}

}  // namespace

void update_from_json(GenerationConfig& config, const Json& json) {
  for_each_field(config, [&](const char* key, auto& field, const char*) {
    const auto found = json.find(key);
    if (found == json.end() || found->is_null()) return;
    try {
      read(*found, field);
    } catch (const std::exception&) {
      const std::string value = found->dump(-1, ' ', false, Json::error_handler_t::replace);
      throw Error(ErrorCode::bad_model,
                  std::string("the generation option ") + key + " cannot be " + in_quotes(value));
    }
  });
  const auto bad_words = json.find("bad_words_ids");
  if (bad_words == json.end() || bad_words->is_null()) return;
  try {
    config.bad_words_ids = bad_words->get<std::vector<std::vector<int>>>();
  } catch (const std::exception&) {
    throw Error(ErrorCode::bad_model, "the generation option bad_words_ids must be lists of ids");
  }
}

}  // namespace blip
