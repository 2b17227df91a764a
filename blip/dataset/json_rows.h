#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "blip/base/json.h"

namespace blip {

/// One element of a list in an annotation file, with checked access to its fields. All accessors
/// throw Error{io} that names the file, the row and the field.
class Row {
 public:
  Row(std::string_view list, const Json& json, std::string where)
      : list_(list), json_(json), where_(std::move(where)) {}

  /// Key of the list in the file's outer object; empty when the file is one list.
  std::string_view list() const { return list_; }
  /// "row 12 of captions.json"
  const std::string& where() const { return where_; }

  bool has(const char* key) const;
  bool has_list(const char* key) const;
  std::int64_t integer(const char* key) const;
  const std::string& text(const char* key) const;
  /// A list of texts, or a single one.
  std::vector<std::string> texts(const char* key) const;
  /// The objects of the list `key`.
  std::vector<Row> rows(const char* key) const;

 private:
  const Json& field(const char* key) const;
  [[noreturn]] void fail(const char* key, const char* expected) const;

  std::string_view list_;
  const Json& json_;
  std::string where_;
};

/// Hands over the objects of a JSON file one by one: the elements of its outer list, or those of
/// each list in its outer object. Everything else in the outer object is passed over, but for
/// texts, of which `take_text` (which may be empty) gets the key and the value. Only one element is
/// in memory at a time, so files of any size can be read. Throws Error{not_found} or Error{io}: not
/// JSON, no such lists, or an element that is no object, nests deeper than 16 levels or has an
/// object of more than 256 keys.
void for_each_row(
    const std::filesystem::path& file, const std::function<void(const Row&)>& take,
    const std::function<void(std::string_view key, const std::string& value)>& take_text = {});

/// The same for a file with one JSON object a line. Empty lines are passed over.
void for_each_line(const std::filesystem::path& file, const std::function<void(const Row&)>& take);

}  // namespace blip
