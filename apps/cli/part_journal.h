#pragma once

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "blip/base/json.h"

namespace blip::cli {

/// Rows of a part, one JSON object a line, as they arise: what was written before a worker was
/// killed is read again, then more is appended. At the end the file gets its name.
class PartJournal {
 public:
  /// Opens or begins `file`.part; where only `file` is there, its end was cut off by a kill and it
  /// is opened again. Throws Error{io}.
  explicit PartJournal(std::filesystem::path file);

  /// The next row that was written before; none when there is no other that is whole.
  std::optional<Json> next();
  /// The row that next() gave last, and those behind it, are cut off; there is no next one.
  /// Throws Error{io}.
  void forget_last();
  /// The row is not with the system before flush(). Not before next() said that there is none,
  /// or forget_last().
  /// Throw Error{io}.
  void append(const std::string& row);
  void flush();
  void finish();

 private:
  void begin_appending();

  std::filesystem::path file_, part_;
  std::ifstream in_;
  std::ofstream out_;
  std::uintmax_t whole_ = 0;  ///< bytes of the rows that were read
  std::uintmax_t last_ = 0;   ///< of the last of them
};

/// Held by the one worker that does a part. Another that comes gets nothing.
class PartLock {
 public:
  /// Throws Error{io}.
  explicit PartLock(std::filesystem::path file);
  ~PartLock();
  PartLock(const PartLock&) = delete;
  PartLock& operator=(const PartLock&) = delete;

  bool held() const { return descriptor_ >= 0; }
  /// When the work is done, and can be seen to be: deletes the file.
  void remove();

 private:
  std::filesystem::path file_;
  int descriptor_;
};

}  // namespace blip::cli
