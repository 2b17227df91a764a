#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "blip/base/json.h"

namespace blip::cli {

/// What an evaluation has finished, one JSON object a line, so that it goes on where it was
/// stopped. The first line says what the run is: the same run may go on, another may not.
class EvalJournal {
 public:
  /// Opens or begins `file`. A last line that was not written whole is dropped.
  /// Throws Error{usage} when the file is of another run, naming what differs, or in use by another
  /// process; Error{io}.
  EvalJournal(std::filesystem::path file, const Json& run);
  ~EvalJournal();
  EvalJournal(const EvalJournal&) = delete;
  EvalJournal& operator=(const EvalJournal&) = delete;

  /// What earlier runs appended.
  const std::vector<Json>& rows() const { return rows_; }

  /// The row is with the system when this returns. Throws Error{io}.
  void append(const Json& row);

  /// Deletes the file: its content is elsewhere now.
  void remove();

 private:
  std::size_t read(const Json& run);

  std::filesystem::path file_;
  int descriptor_;
  std::vector<Json> rows_;
};

}  // namespace blip::cli
