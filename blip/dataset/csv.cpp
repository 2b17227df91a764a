#include "blip/dataset/csv.h"

#include <utility>

namespace blip {
namespace {

/// Takes a field in quotes from `text` at `at`, after the first quote. False: it does not end.
bool take_quoted(std::string_view text, std::size_t& at, std::string& field) {
  while (at < text.size()) {
    if (text[at] != '"') {
      field += text[at++];
    } else if (at + 1 < text.size() && text[at + 1] == '"') {
      field += '"';
      at += 2;
    } else {
      ++at;
      return true;
    }
  }
  return false;
}

}  // namespace

CsvRecord csv_record_at(std::string_view text, std::size_t at) {
  CsvRecord record;
  std::string field;
  for (; at < text.size() && text[at] != '\n';) {
    if (text[at] == '"' && field.empty()) {
      record.whole = take_quoted(text, ++at, field);
    } else if (text[at] == ',') {
      record.fields.push_back(std::exchange(field, ""));
      ++at;
    } else {
      field += text[at++];
    }
  }
  record.newline = at < text.size();
  if (record.newline && field.ends_with('\r')) field.pop_back();
  record.fields.push_back(std::move(field));
  record.end = at + (record.newline ? 1 : 0);
  return record;
}

std::string in_csv_quotes(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

}  // namespace blip
