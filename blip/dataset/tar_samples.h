#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blip/base/error.h"

namespace blip {

/// The files of a tar that belong together: those whose names are equal up to the first dot.
struct TarSample {
  std::string key;                           ///< "folder/000012"
  std::map<std::string, std::string> files;  ///< content by ending, such as "jpg", "txt", "seg.png"
  /// A file of more than 256 MiB was passed over (too_large): its content is empty.
  std::optional<Error> error;
};

/// Reads a WebDataset shard from front to back: a tar, plain or compressed, where the files of a
/// sample lie one behind the other. Of a plain tar, what is passed over is not read.
class TarReader {
 public:
  /// What an ending that comes twice in one sample is, and a sample of more than 64 files.
  enum class Repeated {
    is_error,
    begins_sample,  ///< the next sample, which has the same key
  };

  /// Throws Error{not_found}, Error{io} for what is no tar.
  explicit TarReader(const std::filesystem::path& file, Repeated repeated = Repeated::is_error);
  TarReader(TarReader&&) noexcept;
  TarReader& operator=(TarReader&&) noexcept;
  ~TarReader();

  /// The next sample, or none at the end (false). Folders and links are passed over. Throws
  /// Error{io} for a damaged archive and for an ending that comes twice in one sample,
  /// Error{too_large} for more than 64 files in a sample; the reader is at its end then, and
  /// `sample` has its key and what was read of it.
  bool next(TarSample& sample);
  /// The same without reading anything but names: false at the end.
  bool pass_over();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Files that "shards/{00000..00099}.tar" stands for, whether they exist or not; several braces
/// multiply. The numbers have as many digits as the first one. What has no such braces stands for
/// itself. Throws Error{usage} for numbers that make no range, or more than a million files.
std::vector<std::string> expand_braces(std::string_view pattern);

}  // namespace blip
