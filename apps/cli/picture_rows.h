#pragma once

#include <functional>
#include <optional>
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
  std::optional<Engine> second;  ///< not a flag: another model that looks at the pictures

  /// Returns the option of PATH, which is required.
  CLI::Option* add_to(CLI::App& command);
  std::vector<PictureInput> inputs() const { return expand_inputs(paths, recursive); }
  Context context() const;
};

struct PictureRow : Row {
  EncodedImage image;         ///< unless there is an error
  EncodedImage second_image;  ///< by PictureFlags::second, where there is one
};

/// What became of the time. Decoding and preprocessing go on beside the model; the others follow
/// one another.
struct StageSeconds {
  double decode = 0;
  double preprocess = 0;
  double wait = 0;    ///< of the model for a picture
  double vision = 0;  ///< the vision encoder
};

/// Loads and encodes the pictures, shows progress, and hands over a batch of rows at a time, in
/// order; pictures that cannot be decoded have the reason. Pictures are read ahead of the model, on
/// other threads. `take` clears the progress before it writes to the terminal. Throws
/// Error{cancelled}.
StageSeconds for_each_batch(
    const PictureFlags& flags, std::span<const PictureInput> inputs, const Engine& engine,
    const std::function<void(std::span<PictureRow> rows, Progress& progress)>& take);

/// The same, and writes every row. `find_out` fills the findings of a batch's decoded pictures;
/// there may be none. When stopped, what is finished is written whole. Returns the exit status.
int write_rows(const PictureFlags& flags, std::span<const PictureInput> inputs,
               const Engine& engine, Format format,
               const std::function<void(std::span<PictureRow* const>)>& find_out);

}  // namespace blip::cli
