#include "apps/cli/caption_template.h"

#include <algorithm>
#include <cstddef>

#include "blip/base/error.h"

namespace blip::cli {
namespace {

constexpr const char* kBetween = ", ";

[[noreturn]] void fail(const std::string& reason) {
  throw Error(ErrorCode::usage, "--template " + reason);
}

}  // namespace

CaptionTemplate::CaptionTemplate(std::string_view pattern) {
  bool has_caption = false;
  for (std::size_t at = 0; at < pattern.size(); ++at) {
    const char c = pattern[at];
    if (c != '{' && c != '}') {
      add_literal(c);
    } else if (at + 1 < pattern.size() && pattern[at + 1] == c) {
      add_literal(c);
      ++at;
    } else {
      const std::size_t end = c == '{' ? pattern.find('}', at) : std::string_view::npos;
      if (end == std::string_view::npos)
        fail("has a brace alone in " + in_quotes(pattern) + "; {{ and }} stand for braces");
      const Kind kind = kind_of(pattern.substr(at + 1, end - at - 1));
      if (kind == Kind::tags && std::exchange(has_tags_, true)) fail("can have {tags} only once");
      has_caption = has_caption || kind == Kind::caption;
      pieces_.push_back({kind, ""});
      at = end;
    }
  }
  if (!has_caption) fail("without {caption} would leave the caption out");
}

CaptionTemplate::Kind CaptionTemplate::kind_of(std::string_view name) {
  if (name == "caption") return Kind::caption;
  if (name == "name") return Kind::name;
  if (name == "directory") return Kind::directory;
  if (name == "tags") return Kind::tags;
  fail("knows {caption}, {name}, {directory} and {tags}, not " +
       in_quotes("{" + std::string(name) + "}"));
}

void CaptionTemplate::add_literal(char c) {
  if (pieces_.empty() || pieces_.back().kind != Kind::literal)
    pieces_.push_back({Kind::literal, ""});
  pieces_.back().text += c;
}

std::string CaptionTemplate::text_of(const Piece& piece, const CaptionFields& fields) const {
  switch (piece.kind) {
    case Kind::caption:
      return fields.caption;
    case Kind::name:
      return fields.name;
    case Kind::directory:
      return fields.directory;
    case Kind::tags:
      return fields.tags;
    case Kind::literal:
      break;
  }
  return piece.text;
}

std::pair<std::string, std::string> CaptionTemplate::around_tags(
    const CaptionFields& fields) const {
  std::pair<std::string, std::string> around;
  bool after = false;
  for (const Piece& piece : pieces_) {
    if (piece.kind == Kind::tags) {
      after = true;
    } else {
      (after ? around.second : around.first) += text_of(piece, fields);
    }
  }
  return around;
}

std::string CaptionTemplate::fill(const CaptionFields& fields) const {
  auto [before, after] = around_tags(fields);
  if (!has_tags_) return before;
  if (!fields.tags.empty()) return before + fields.tags + after;
  if (after.empty()) {
    before.erase(before.find_last_not_of(kBetween) + 1);
  } else {
    after.erase(0, std::min(after.find_first_not_of(kBetween), after.size()));
  }
  return before + after;
}

}  // namespace blip::cli
