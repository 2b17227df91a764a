#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "apps/cli/flags.h"
#include "apps/cli/inputs.h"
#include "apps/cli/progress.h"
#include "apps/cli/rows.h"
#include "blip/base/context.h"

namespace blip::cli {

/// PATH..., --recursive, --batch-size, and the flags of models and pictures: what commands that go
/// through pictures share.
struct PictureFlags {
  std::vector<std::string> paths;
  bool recursive = false;
  std::size_t batch_size = 8;
  ModelFlags model;
  ImageFlags image;
  bool keep_pixels = false;  ///< not a flag: rows have the decoded picture, too

  /// Returns the option of PATH, which is required.
  CLI::Option* add_to(CLI::App& command);
  std::vector<PictureInput> inputs() const { return expand_inputs(paths, recursive); }
  Context context() const;
};

struct PictureRow : Row {
  EncodedImage image;  ///< unless there is an error
  Image pixels;        ///< only with PictureFlags::keep_pixels
};

/// Loads and encodes the pictures, shows progress, and hands over a batch of rows at a time, in
/// order; pictures that cannot be decoded have the reason. `take` clears the progress before it
/// writes to the terminal. Throws Error{cancelled}.
void for_each_batch(
    const PictureFlags& flags, std::span<const PictureInput> inputs, const Engine& engine,
    const std::function<void(std::span<PictureRow> rows, Progress& progress)>& take);

/// The same, and writes every row. `find_out` fills the findings of a batch's decoded pictures;
/// there may be none. When stopped, what is finished is written whole. Returns the exit status.
int write_rows(const PictureFlags& flags, std::span<const PictureInput> inputs,
               const Engine& engine, Format format,
               const std::function<void(std::span<PictureRow* const>)>& find_out);

}  // namespace blip::cli
