#include "blip/dataset/pair_texts.h"

#include <algorithm>

#include "blip/base/json.h"
#include "blip/dataset/json_rows.h"
#include "blip/dataset/picture_files.h"

namespace blip {
namespace {

constexpr std::string_view kSpace = " \t\r\n\f\v";

/// Of "jpg", but not of "seg.png", which lies beside a picture.
bool is_picture_ending(const std::string& ending) {
  return ending.find('.') == std::string::npos && is_picture_name("picture." + ending);
}

Json parse_row(std::string_view text, const std::string& where) {
  try {
    Json json = parse_json(text, where);
    if (json.is_object()) return json;
  } catch (const Error& e) {
    throw Error(ErrorCode::io, e.what());  // it is no model
  }
  throw Error(ErrorCode::io, where + " is not an object");
}

/// The texts of the first of these fields that is there, and the flag.
void take_fields(PairRecord& record, const Row& row, const Json& json) {
  for (const char* key : {"caption", "text"}) {
    if (!row.has(key)) continue;
    for (const std::string& text : row.texts(key)) add_text(record.texts, text);
    break;
  }
  if (json.contains("human") && json["human"] == true) record.human = true;
}

void add_lines(std::vector<std::string>& texts, std::string_view lines) {
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    add_text(texts, lines.substr(0, end));
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
}

}  // namespace

std::string valid_utf8(const std::string& text) {
  return Json::parse(dump(Json(text))).get<std::string>();
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(kSpace) == std::string_view::npos;
}

void add_text(std::vector<std::string>& texts, std::string_view text) {
  if (is_blank(text)) return;
  const std::size_t begin = text.find_first_not_of(kSpace);
  text = text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
  texts.push_back(valid_utf8(std::string(text)));
}

void take_texts(PairRecord& record) {
  const auto& files = record.sample.files;
  const auto picture = std::find_if(files.begin(), files.end(),
                                    [](const auto& file) { return is_picture_ending(file.first); });
  if (picture == files.end()) {
    record.error.emplace(ErrorCode::not_found, in_quotes(record.name) + " has no picture");
    return;
  }
  record.picture = picture->first;
  try {
    if (const auto json = files.find("json"); json != files.end()) {
      const std::string where = in_quotes(record.name + ".json");
      const Json row = parse_row(json->second, where);
      take_fields(record, Row("", row, where), row);
    }
  } catch (const Error& e) {
    record.error = e;
  }
  for (const char* ending : {"txt", "caption"}) {
    const auto text = files.find(ending);
    if (text == files.end()) continue;
    record.texts.clear();
    add_lines(record.texts, text->second);
    // What the JSON says of the texts does not matter then.
    record.error.reset();
    break;
  }
}

void take_row(PairRecord& record, std::string_view json, const std::string& where) {
  const Json parsed = parse_row(json, where);
  const Row row("", parsed, where);
  record.name = row.text(row.has("file_name") ? "file_name" : "image");
  if (record.name.empty()) throw Error(ErrorCode::io, where + " names no picture");
  take_fields(record, row, parsed);
}

}  // namespace blip
