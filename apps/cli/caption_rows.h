#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apps/cli/flags.h"
#include "blip/base/error.h"
#include "blip/tasks/captioning.h"

namespace blip::cli {

/// A picture's outcome: captions, or the reason why there are none.
struct CaptionRow {
  std::string path;
  std::vector<Caption> captions;
  std::unique_ptr<Error> error;
};

/// Writes rows to standard output as they come; each is whole before the next begins. Errors go to
/// standard error as well.
class CaptionRowWriter {
 public:
  CaptionRowWriter(Format format, bool show_paths) : format_(format), show_paths_(show_paths) {}

  /// Throws Error{io} when standard output takes no more.
  void write(const CaptionRow& row);
  /// Ends the document. Left out when the work failed, so that a part is not taken for the whole.
  void finish();

 private:
  Format format_;
  bool show_paths_;
  std::size_t rows_ = 0;
};

}  // namespace blip::cli
