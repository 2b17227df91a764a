#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "apps/cli/caption_store.h"
#include "apps/cli/flags.h"
#include "apps/cli/picture_rows.h"

namespace blip::cli {

/// A run that writes captions to files, and what it says at its end.
class CaptionFiles {
 public:
  /// Throws what open_caption_store() throws.
  CaptionFiles(const CaptionFileFlags& flags, Format format);

  /// Those of the pictures that are to be captioned, each once. Those that have no place for a
  /// caption are reported.
  std::vector<PictureInput> wanted(std::vector<PictureInput> inputs);

  /// Captions them. `find_out` fills the lines of a batch's decoded pictures; there may be none.
  /// When stopped, finished batches are written. Throws Error{cancelled}; Error{io} when nothing
  /// can be written any more.
  void write(const PictureFlags& flags, std::span<const PictureInput> wanted, const Engine& engine,
             const std::function<void(std::span<PictureRow* const>)>& find_out);

  /// Completes the files and says what was done. Returns the exit status.
  int finish();

 private:
  void take(std::span<const PictureInput> inputs, std::span<PictureRow> rows);
  void write(const PictureInput& picture, const std::vector<std::string>& captions);
  void fail(const Error& error);
  void say(double seconds) const;
  double seconds() const;

  Format format_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::unique_ptr<CaptionStore> store_;
  std::size_t captioned_ = 0;
  std::size_t skipped_ = 0;
  std::size_t failed_ = 0;
  std::size_t unwritten_ = 0;  ///< in a row
  int last_status_ = 0;
  StageSeconds stages_;
  double text_ = 0;     ///< seconds of the text models
  double writing_ = 0;  ///< seconds
};

}  // namespace blip::cli
