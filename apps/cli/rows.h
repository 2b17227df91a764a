#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apps/cli/flags.h"
#include "blip/base/error.h"
#include "blip/base/json.h"

namespace blip::cli {

/// What a command found out about a picture (or a pair), or the reason why it could not.
struct Row {
  Json subject;                       ///< what it is about, such as {"path": "a.png"}
  std::string label;                  ///< the same, before lines of text
  Json findings = Json::object();     ///< fields after the subject
  std::vector<std::string> lines;     ///< the findings as text
  std::vector<std::string> warnings;  ///< sentences for standard error
  std::unique_ptr<Error> error;       ///< instead of findings
};

/// Writes rows to standard output as they come; each is whole before the next begins. Errors go to
/// standard error as well.
class RowWriter {
 public:
  RowWriter(Format format, bool show_labels) : format_(format), show_labels_(show_labels) {}

  /// Throws Error{io} when standard output takes no more.
  void write(const Row& row);
  /// Ends the document. Left out when the work failed, so that a part is not taken for the whole.
  void finish();

  /// Exit status: 0 when all rows have findings; the error's own when it is the only row's; else 1.
  int status() const;

 private:
  Format format_;
  bool show_labels_;
  std::size_t rows_ = 0;
  std::size_t failed_ = 0;
  int last_status_ = 0;
};

}  // namespace blip::cli
