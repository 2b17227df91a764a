#include "blip/generation/generation_json.h"

#include <stdexcept>
#include <string>
#include <type_traits>

#include "blip/base/error.h"
#include "blip/base/json_field.h"

namespace blip {
namespace {

void read_field(const Json& value, EarlyStopping& field) {
  if (value.is_boolean()) {
    field = value.get<bool>() ? EarlyStopping::yes : EarlyStopping::no;
  } else if (value == "never") {
    field = EarlyStopping::never;
  } else {
    throw std::invalid_argument("not true, false or \"never\"");
  }
}

Json value_of(EarlyStopping value) {
  if (value == EarlyStopping::never) return "never";
  return value == EarlyStopping::yes;
}

}  // namespace

void update_from_json(GenerationConfig& config, const Json& json) {
  for_each_field(config, [&](const char* key, auto& field, const char*) {
    const auto found = json.find(key);
    if (found == json.end() || found->is_null()) return;
    try {
      read_field(*found, field);
    } catch (const std::exception&) {
      const std::string value = dump(*found);
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

Json to_json(const GenerationConfig& config) {
  Json json = Json::object();
  for_each_field(config, [&](const char* key, const auto& field, const char*) {
    using T = std::decay_t<decltype(field)>;
    if constexpr (std::is_same_v<T, std::optional<int>>) {
      if (field) json[key] = *field;
    } else if constexpr (std::is_same_v<T, EarlyStopping>) {
      json[key] = value_of(field);
    } else {
      json[key] = field;
    }
  });
  return json;
}

}  // namespace blip
