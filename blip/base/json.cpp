#include "blip/base/json.h"

#include <array>
#include <cstddef>
#include <string>

#include "blip/base/error.h"
#include "blip/base/file.h"

namespace blip {
namespace {

constexpr std::size_t kMaxDepth = 64;
constexpr std::size_t kMaxComparisons = 1'000'000'000;  // one object of 44,000 keys

/// Why `text` would cost too much to parse, empty when it would not. Depth exhausts the stack when
/// the document is destroyed; objects that keep their order compare each new key with all before.
/// A scan beforehand, because the parser's own callback makes long arrays take quadratic time.
std::string excess(std::string_view text) {
  std::array<std::size_t, kMaxDepth + 1> keys{};  // of the object open at each depth
  std::size_t depth = 0;
  std::size_t comparisons = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (depth == kMaxDepth) return "nests deeper than " + std::to_string(kMaxDepth) + " levels";
      keys[++depth] = 0;
    } else if (c == '}' || c == ']') {
      if (depth > 0) --depth;
    } else if (c == ':') {
      comparisons += keys[depth]++;
      if (comparisons > kMaxComparisons) return "has objects with too many keys";
    }
  }
  return "";
}

/// What is wrong, without the library's own name for it: "[json.exception.parse_error.101] ...".
std::string_view reason_of(const Json::exception& error) {
  const std::string_view words = error.what();
  const std::size_t name = words.find("] ");
  return name == std::string_view::npos ? words : words.substr(name + 2);
}

}  // namespace

std::string dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Json parse_json(std::string_view text, std::string_view where) {
  if (const std::string reason = excess(text); !reason.empty()) {
    throw Error(ErrorCode::bad_model, std::string(where) + " " + reason);
  }
  try {
    return Json::parse(text.begin(), text.end());
  } catch (const Json::exception& e) {
    throw Error(ErrorCode::bad_model,
                std::string(where) + " is not valid JSON: " + in_quotes(reason_of(e)));
  }
}

Json read_json(const std::filesystem::path& file) {
  constexpr std::size_t kMaxBytes = std::size_t{256} << 20;
  return parse_json(read_file(file, kMaxBytes), file.string());
}

}  // namespace blip
