#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace blip::cli {

/// What a text about a picture is made of.
struct CaptionFields {
  std::string caption;
  std::string name;       ///< the picture's file name without its ending
  std::string directory;  ///< the name of the folder it lies in
  std::string tags;       ///< what a file beside it says already
};

/// A text with {caption}, {name}, {directory} and {tags} in it; {{ and }} are braces.
class CaptionTemplate {
 public:
  /// Throws Error{usage} for another name in braces, a brace alone, a {caption} that is missing,
  /// and more than one {tags}.
  explicit CaptionTemplate(std::string_view pattern);

  bool has_tags() const { return has_tags_; }

  /// Empty tags take the comma and the spaces after them along (at the end: those before).
  std::string fill(const CaptionFields& fields) const;
  /// What fill() puts before and after {tags}.
  std::pair<std::string, std::string> around_tags(const CaptionFields& fields) const;

 private:
  enum class Kind { literal, caption, name, directory, tags };
  struct Piece {
    Kind kind;
    std::string text;  ///< of a literal
  };

  static Kind kind_of(std::string_view name);
  void add_literal(char c);
  std::string text_of(const Piece& piece, const CaptionFields& fields) const;

  std::vector<Piece> pieces_;
  bool has_tags_ = false;
};

}  // namespace blip::cli
