#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "blip/dataset/pair_source.h"

namespace blip {

/// Writes the pictures of a part with the texts that they have now.
class PairWriter {
 public:
  virtual ~PairWriter() = default;
  /// `notes` is JSON about the record. Throws Error{io}; what reading the picture throws.
  virtual void add(const PairRecord& record, std::span<const std::string> texts,
                   const std::string& notes) = 0;
  /// Removes what an earlier writer left of a record that this one is not given.
  virtual void remove(const PairRecord& record) = 0;
  /// Everything is with the system when this returns. Throws Error{io}.
  virtual void finish() = 0;
};

/// A tar at `file`, which the caller renames when it is whole. Of a tar's sample all files stay but
/// its texts; .txt has one a line, .capfilt.json the notes. Records from elsewhere are samples
/// named `part`_000000 and so on.
std::unique_ptr<PairWriter> make_tar_writer(const std::filesystem::path& file,
                                            const std::string& part);

/// Pictures below `folder` by their names, each with a .txt of a text a line. Every file is written
/// to `temporary`, in the same file system, and renamed.
std::unique_ptr<PairWriter> make_folder_writer(const std::filesystem::path& folder,
                                               const std::filesystem::path& temporary);

/// Why a picture of this name cannot be written below a folder; empty when it can.
std::string unsafe_below(const std::string& name);

}  // namespace blip
