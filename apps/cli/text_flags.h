#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace blip::cli {

/// Texts given one by one and in a file, such as --text and --texts.
struct TextFlags {
  std::vector<std::string> texts;
  std::string file;

  /// `one` and `many` without dashes; `what` the texts are, for --help.
  void add_to(CLI::App& command, const std::string& one, const std::string& many,
              const std::string& what);
  bool given() const { return !texts.empty() || !file.empty(); }
  /// All of them, those of the file last.
  /// Throws Error{usage} when there are none; what read_texts() throws.
  std::vector<std::string> read() const;

 private:
  std::string names_;
};

/// The texts of a file: its lines, or the strings of one JSON array when its name ends in .json.
/// Blank ones are left out. Throws Error{not_found, io, too_large}, Error{usage} for a file that
/// has none or is no such array.
std::vector<std::string> read_texts(const std::string& file);

}  // namespace blip::cli
