#include "apps/server/task_input.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "apps/server/base64.h"
#include "apps/server/multipart.h"
#include "blip/base/error.h"

namespace blip::server {
namespace {

constexpr std::size_t kMostFields = 1000;
constexpr std::size_t kMostImages = 64;
constexpr std::size_t kMostValues = 100'000;  // of JSON: each takes many times its text's memory

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// The fields of a form or a query. One that comes again becomes an array.
class FieldList {
 public:
  void add(const std::string& name, std::string value) {
    if (++count_ > kMostFields) {
      throw Error(ErrorCode::usage,
                  "a request must have at most " + std::to_string(kMostFields) + " fields");
    }
    const auto found = fields_.find(name);
    if (found == fields_.end()) {
      fields_[name] = std::move(value);
      return;
    }
    if (!found->is_array()) found.value() = Json::array({std::move(found.value())});
    found->push_back(std::move(value));
  }
  Json take() { return std::move(fields_); }

 private:
  Json fields_ = Json::object();
  std::size_t count_ = 0;
};

void add_image(TaskInput& input, std::string bytes) {
  if (input.images.size() == kMostImages) {
    throw Error(ErrorCode::too_large,
                "a request must have at most " + std::to_string(kMostImages) + " pictures");
  }
  input.images.push_back(std::move(bytes));
}

bool is_image_field(std::string_view name) {
  return name == "image" || name == "images" || name == "image[]" || name == "file";
}

TaskInput from_form(std::string_view content_type, std::string_view body) {
  TaskInput input;
  FieldList fields;
  for (Part& part : parse_multipart(body, boundary_of(content_type))) {
    const bool file = !part.filename.empty() || part.content_type.starts_with("image/");
    if (is_image_field(part.name)) {
      add_image(input, file ? std::string(part.body) : decode_data_uri(part.body));
    } else {
      fields.add(part.name, std::string(part.body));
    }
  }
  input.fields = fields.take();
  return input;
}

TaskInput from_json(std::string_view body) {
  TaskInput input;
  input.fields = parse_request_json(body);
  if (!input.fields.is_object()) throw Error(ErrorCode::usage, "a request must be a JSON object");
  for (const char* name : {"image", "images"}) {
    const auto found = input.fields.find(name);
    if (found == input.fields.end()) continue;
    const Json value = std::move(found.value());
    input.fields.erase(found);
    if (value.is_null()) continue;
    for (const Json& one : value.is_array() ? value : Json::array({value})) {
      if (!one.is_string()) {
        throw Error(ErrorCode::usage,
                    "\"" + std::string(name) + "\" must be base64 or a data URI, or an array");
      }
      add_image(input, decode_data_uri(one.get_ref<const std::string&>()));
    }
  }
  return input;
}

/// Values in a JSON text, about.
std::size_t count_values(std::string_view text) {
  std::size_t count = 1;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string && c == '\\') ++i;
    if (c == '"') in_string = !in_string;
    if (!in_string && (c == ',' || c == '[' || c == '{')) ++count;
  }
  return count;
}

}  // namespace

bool is_of_type(std::string_view content_type, std::string_view type) {
  const std::string_view given = content_type.substr(0, content_type.find_first_of("; \t"));
  return std::ranges::equal(given, type,
                            [](unsigned char a, unsigned char b) { return std::tolower(a) == b; });
}

std::string percent_decode(std::string_view text, bool plus_is_space) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      plain.push_back(text[i] == '+' && plus_is_space ? ' ' : text[i]);
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0)
      throw Error(ErrorCode::usage, "a URL must have two hexadecimal digits after each %");
    plain.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return plain;
}

Json parse_request_json(std::string_view text) {
  if (count_values(text) > kMostValues) {
    throw Error(ErrorCode::usage,
                "the request's JSON must have at most " + std::to_string(kMostValues) + " values");
  }
  try {
    return parse_json(text, "the request");
  } catch (const Error& e) {
    throw Error(ErrorCode::usage, e.what());
  }
}

Json parse_query(std::string_view query) {
  FieldList fields;
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    fields.add(percent_decode(pair.substr(0, equals), true), percent_decode(value, true));
  }
  return fields.take();
}

TaskInput read_task_input(std::string_view content_type, std::string_view query, std::string body) {
  TaskInput input;
  if (is_of_type(content_type, "multipart/form-data")) {
    input = from_form(content_type, body);
  } else if (is_of_type(content_type, "application/json")) {
    input = from_json(body);
  } else if (is_of_type(content_type, "application/x-www-form-urlencoded")) {
    input.fields = parse_query(body);
    const auto image = input.fields.find("image");
    if (image != input.fields.end() && image->is_string()) {
      add_image(input, decode_data_uri(image->get_ref<const std::string&>()));
      input.fields.erase(image);
    }
  } else if (!body.empty() || content_type.starts_with("image/")) {
    add_image(input, std::move(body));  // an empty one hears that it is
  }
  const Json more = parse_query(query);
  for (const auto& [name, value] : more.items()) {
    if (!input.fields.contains(name)) input.fields[name] = value;
  }
  return input;
}

}  // namespace blip::server
