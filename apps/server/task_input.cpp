#include "apps/server/task_input.h"

#include <utility>

#include "apps/server/base64.h"
#include "apps/server/multipart.h"
#include "blip/base/error.h"

namespace blip::server {
namespace {

constexpr std::size_t kMostFields = 1000;
constexpr std::size_t kMostImages = 64;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void add_field(Json& fields, const std::string& name, std::string value) {
  const auto found = fields.find(name);
  if (found == fields.end()) {
    if (fields.size() == kMostFields)
      throw Error(ErrorCode::usage,
                  "a request must have at most " + std::to_string(kMostFields) + " fields");
    fields[name] = std::move(value);
  } else {
    if (!found->is_array()) found.value() = Json::array({std::move(found.value())});
    found->push_back(std::move(value));
  }
}

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
  for (Part& part : parse_multipart(body, boundary_of(content_type))) {
    const bool file = !part.filename.empty() || part.content_type.starts_with("image/");
    if (is_image_field(part.name)) {
      add_image(input, file ? std::string(part.body) : decode_data_uri(part.body));
    } else {
      add_field(input.fields, part.name, std::string(part.body));
    }
  }
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

}  // namespace

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
  try {
    return parse_json(text, "the request");
  } catch (const Error& e) {
    throw Error(ErrorCode::usage, e.what());
  }
}

Json parse_query(std::string_view query) {
  Json fields = Json::object();
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    add_field(fields, percent_decode(pair.substr(0, equals), true), percent_decode(value, true));
  }
  return fields;
}

TaskInput read_task_input(std::string_view content_type, std::string_view query, std::string body) {
  TaskInput input;
  if (content_type.starts_with("multipart/form-data")) {
    input = from_form(content_type, body);
  } else if (content_type.starts_with("application/json")) {
    input = from_json(body);
  } else if (content_type.starts_with("application/x-www-form-urlencoded")) {
    input.fields = parse_query(body);
    const auto image = input.fields.find("image");
    if (image != input.fields.end() && image->is_string()) {
      add_image(input, decode_data_uri(image->get_ref<const std::string&>()));
      input.fields.erase(image);
    }
  } else if (!body.empty()) {
    add_image(input, std::move(body));
  }
  const Json more = parse_query(query);
  for (const auto& [name, value] : more.items()) {
    if (!input.fields.contains(name)) input.fields[name] = value;
  }
  return input;
}

}  // namespace blip::server
