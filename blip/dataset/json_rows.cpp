#include "blip/dataset/json_rows.h"

#include <cstddef>
#include <memory>
#include <utility>

#include "blip/base/error.h"
#include "blip/base/file.h"

namespace blip {
namespace {

constexpr std::size_t kMaxDepth = 16;  ///< within an element
constexpr std::size_t kMaxKeys = 256;

/// Takes a file's events, builds its elements and hands each over.
class RowBuilder : public Json::json_sax_t {
 public:
  RowBuilder(std::string file, const std::function<void(const Row&)>& take,
             const std::function<void(std::string_view, const std::string&)>& take_text)
      : file_(std::move(file)), take_(take), take_text_(take_text) {}

  bool null() override { return value(nullptr); }
  bool boolean(bool b) override { return value(b); }
  bool number_integer(number_integer_t n) override { return value(n); }
  bool number_unsigned(number_unsigned_t n) override { return value(n); }
  bool number_float(number_float_t n, const string_t&) override { return value(n); }
  bool binary(binary_t&) override { return false; }

  bool string(string_t& text) override {
    if (depth_ == 1 && !outer_is_list_ && take_text_) take_text_(list_, text);
    return value(std::move(text));
  }

  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& key) override {
    if (depth_ == 1) {
      list_ = std::move(key);
    } else if (!path_.empty()) {
      if (path_.back()->size() >= kMaxKeys) fail("has an object of more than 256 keys");
      key_ = std::move(key);
    }
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& e) override {
    throw Error(ErrorCode::io, file_ + " is not valid JSON: " + in_quotes(e.what()));
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const {
    throw Error(ErrorCode::io, "row " + std::to_string(row_) + " of " + file_ + " " + reason);
  }

  /// A file that is one list holds rows and nothing else; in an object other lists may stand.
  void refuse_other() const {
    if (outer_is_list_) fail("is not an object");
  }

  /// Whether what comes now is an element of a list that is handed over.
  bool at_element() const { return depth_ == (outer_is_list_ ? 1U : 2U) && in_list_; }

  /// Places a value in the element that is being built; null outside of one.
  Json* place(Json&& json) {
    if (path_.empty()) return nullptr;
    Json& parent = *path_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(json));
      return &parent.back();
    }
    Json& field = parent[key_];  // a key that comes twice counts as its last value
    field = std::move(json);
    return &field;
  }

  bool value(Json&& json) {
    if (depth_ == 0) throw Error(ErrorCode::io, file_ + " holds no list");
    if (at_element() && path_.empty()) refuse_other();
    place(std::move(json));
    return true;
  }

  bool open(Json&& json) {
    if (depth_ == 0) {
      outer_is_list_ = json.is_array();
      in_list_ = outer_is_list_;
    } else if (depth_ == 1 && !outer_is_list_) {
      in_list_ = json.is_array();
      row_ = 0;
    } else if (path_.empty() && at_element()) {
      if (json.is_object()) {
        element_ = std::move(json);
        path_.push_back(&element_);
      } else {
        refuse_other();
      }
    } else if (!path_.empty()) {
      if (path_.size() == kMaxDepth) fail("nests deeper than 16 levels");
      path_.push_back(place(std::move(json)));
    }
    ++depth_;
    return true;
  }

  bool close() {
    --depth_;
    if (path_.empty()) {
      if (depth_ == 1 && !outer_is_list_) in_list_ = false;
      return true;
    }
    path_.pop_back();
    if (!path_.empty()) return true;
    take_(Row(list_, element_, "row " + std::to_string(row_) + " of " + file_));
    ++row_;
    return true;
  }

  std::string file_;
  const std::function<void(const Row&)>& take_;
  const std::function<void(std::string_view, const std::string&)>& take_text_;
  std::size_t depth_ = 0;  ///< of the whole file
  bool outer_is_list_ = false;
  bool in_list_ = false;
  std::string list_;
  std::size_t row_ = 0;
  Json element_;
  std::string key_;
  std::vector<Json*> path_;  ///< open containers of the element; empty outside of one
};

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

}  // namespace

void Row::fail(const char* key, const char* expected) const {
  throw Error(ErrorCode::io, where_ + " has no " + expected + " " + in_quotes(key));
}

const Json& Row::field(const char* key) const {
  const auto found = json_.find(key);
  if (found == json_.end()) fail(key, "field");
  return *found;
}

bool Row::has(const char* key) const {
  return json_.contains(key);
}

bool Row::has_list(const char* key) const {
  return has(key) && field(key).is_array();
}

std::int64_t Row::integer(const char* key) const {
  const Json& json = field(key);
  const bool fits = json.is_number_integer() &&
                    (!json.is_number_unsigned() || json.get<std::uint64_t>() <= INT64_MAX);
  if (!fits) fail(key, "integer");
  return json.get<std::int64_t>();
}

const std::string& Row::text(const char* key) const {
  const Json& json = field(key);
  if (!json.is_string()) fail(key, "text");
  return json.get_ref<const std::string&>();
}

std::vector<std::string> Row::texts(const char* key) const {
  if (!has_list(key)) return {text(key)};
  std::vector<std::string> texts;
  for (const Json& json : field(key)) {
    if (!json.is_string()) fail(key, "list of texts");
    texts.push_back(json.get<std::string>());
  }
  return texts;
}

std::vector<Row> Row::rows(const char* key) const {
  if (!has_list(key)) fail(key, "list");
  std::vector<Row> rows;
  for (const Json& json : field(key)) {
    if (!json.is_object()) fail(key, "list of objects");
    rows.emplace_back(key, json, where_);
  }
  return rows;
}

void for_each_row(const std::filesystem::path& file, const std::function<void(const Row&)>& take,
                  const std::function<void(std::string_view, const std::string&)>& take_text) {
  const auto mapped = MappedFile::open(file);
  const std::string_view text = text_of(*mapped);
  RowBuilder builder(file.string(), take, take_text);
  Json::sax_parse(text.begin(), text.end(), &builder);
}

void for_each_line(const std::filesystem::path& file, const std::function<void(const Row&)>& take) {
  const auto mapped = MappedFile::open(file);
  std::string_view text = text_of(*mapped);
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = "line " + std::to_string(number) + " of " + file.string();
    Json json;
    try {
      json = parse_json(line, where);
    } catch (const Error& e) {
      throw Error(ErrorCode::io, e.what());  // the file is no model
    }
    if (!json.is_object()) throw Error(ErrorCode::io, where + " is not an object");
    take(Row("", json, where));
  }
}

}  // namespace blip
