#include "apps/server/fields.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "blip/base/error.h"
#include "blip/generation/generation_json.h"

namespace blip::server {
namespace {

constexpr int kMostSequences = 16;

[[noreturn]] void refuse(const char* name, const std::string& expected, const Json& got) {
  throw Error(ErrorCode::usage,
              "\"" + std::string(name) + "\" must be " + expected + ", but is " +
                  in_quotes(got.is_string() ? got.get<std::string>() : dump(got)));
}

/// The number or the flag that a form's text stands for; other values as they are.
Json typed(Json value) {
  if (!value.is_string()) return value;
  const auto& text = value.get_ref<const std::string&>();
  if (text == "true") return true;
  if (text == "false") return false;
  const char* const end = text.data() + text.size();
  std::int64_t whole = 0;
  if (const auto read = std::from_chars(text.data(), end, whole);
      read.ec == std::errc() && read.ptr == end) {
    return whole;
  }
  double number = 0;
  if (const auto read = std::from_chars(text.data(), end, number);
      read.ec == std::errc() && read.ptr == end && std::isfinite(number)) {
    return number;
  }
  return value;
}

template <class Number>
std::string between(Number least, Number most) {
  return Json(least).dump() + " to " + Json(most).dump();
}

}  // namespace

Fields::Fields(Json object, const TextLimits& limits)
    : object_(std::move(object)), limits_(limits) {
  if (!object_.is_object()) throw Error(ErrorCode::usage, "a request must be a JSON object");
  for (auto it = object_.begin(); it != object_.end();)
    it = it.value().is_null() ? object_.erase(it) : std::next(it);
}

Json Fields::take(const char* name) {
  const auto found = object_.find(name);
  if (found == object_.end()) return nullptr;
  Json value = std::move(found.value());
  object_.erase(found);
  return value;
}

std::optional<std::string> Fields::text(const char* name) {
  const Json value = take(name);
  if (value.is_null()) return {};
  if (!value.is_string()) refuse(name, "a text", value);
  auto text = value.get<std::string>();
  if (text.size() > limits_.bytes) {
    throw Error(ErrorCode::too_large, "\"" + std::string(name) + "\" must have at most " +
                                          std::to_string(limits_.bytes) + " bytes, but has " +
                                          std::to_string(text.size()));
  }
  return text;
}

std::vector<std::string> Fields::texts(const char* name) {
  const auto found = object_.find(name);
  if (found == object_.end()) return {};
  if (!found->is_array()) return {*text(name)};
  const Json array = take(name);
  if (array.size() > limits_.count) {
    throw Error(ErrorCode::too_large, "\"" + std::string(name) + "\" must have at most " +
                                          std::to_string(limits_.count) + " texts, but has " +
                                          std::to_string(array.size()));
  }
  std::vector<std::string> texts;
  for (const Json& element : array) {
    object_[name] = element;
    if (element.is_null()) refuse(name, "texts", array);
    texts.push_back(*text(name));
  }
  return texts;
}

std::optional<bool> Fields::flag(const char* name) {
  const Json value = typed(take(name));
  if (value.is_null()) return {};
  if (value == 0 || value == 1) return value == 1;
  if (!value.is_boolean()) refuse(name, "true or false", value);
  return value.get<bool>();
}

std::optional<std::int64_t> Fields::integer(const char* name, std::int64_t least,
                                            std::int64_t most) {
  const Json value = typed(take(name));
  if (value.is_null()) return {};
  const bool fits = value.is_number_integer() &&
                    !(value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) &&
                    value.get<std::int64_t>() >= least && value.get<std::int64_t>() <= most;
  if (!fits) refuse(name, "a whole number, " + between(least, most), value);
  return value.get<std::int64_t>();
}

std::optional<double> Fields::number(const char* name, double least, double most) {
  const Json value = typed(take(name));
  if (value.is_null()) return {};
  if (!value.is_number() || !(value.get<double>() >= least && value.get<double>() <= most))
    refuse(name, "a number, " + between(least, most), value);
  return value.get<double>();
}

std::optional<std::string> Fields::word(const char* name,
                                        std::initializer_list<const char*> words) {
  const Json value = take(name);
  if (value.is_null()) return {};
  std::string all;
  for (const char* word : words) {
    if (value == word) return word;
    all += (all.empty() ? "" : ", ") + std::string(word);
  }
  refuse(name, "one of " + all, value);
}

void Fields::apply_to(GenerationConfig& config) {
  Json given = Json::object();
  for_each_field(config, [&](const char* name, const auto&, const char*) {
    Json value = typed(take(name));
    if (!value.is_null()) given[name] = std::move(value);
  });
  // A limit given in one form replaces the checkpoint's in the other.
  if (given.contains("max_length") && !given.contains("max_new_tokens")) config.max_new_tokens = {};
  if (given.contains("min_length") && !given.contains("min_new_tokens")) config.min_new_tokens = {};
  try {
    update_from_json(config, given);
  } catch (const Error& e) {
    throw Error(ErrorCode::usage, e.what());
  }
  check_sequences(config);
}

void check_sequences(const GenerationConfig& config) {
  for (const int sequences : {config.num_beams, config.num_return_sequences}) {
    const bool many = sequences > kMostSequences;
    if (sequences >= 1 && !many) continue;
    throw Error(many ? ErrorCode::too_large : ErrorCode::usage,
                "\"num_beams\" and \"num_return_sequences\" must be 1 to " +
                    std::to_string(kMostSequences) + ", but one is " + std::to_string(sequences));
  }
}

void Fields::refuse_the_rest() const {
  if (object_.empty()) return;
  throw Error(ErrorCode::usage,
              "the field " + in_quotes(object_.begin().key()) + " is not known here");
}

}  // namespace blip::server
