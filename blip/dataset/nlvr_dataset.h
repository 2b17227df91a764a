#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace blip {

struct NlvrExample {
  /// Official: "dev-850-1-0". The authors' files have none; there it is the row's number from 0.
  std::string identifier;
  std::string sentence;
  std::array<std::string, 2> images;  ///< left and right, relative to the pictures' folder
  std::optional<bool> label;          ///< of a hidden test set: none
  std::string group;                  ///< the same for examples that share a statement
};

/// Reads NLVR2's own form, one {"identifier", "sentence", "label"} a line, or the BLIP authors'
/// [{"images": [left, right], "sentence", "label"}], or the authors' objects one a line.
/// Throws Error{not_found}; Error{io} for a file in neither form, and for an identifier that comes
/// twice.
std::vector<NlvrExample> read_nlvr(const std::filesystem::path& file);

}  // namespace blip
