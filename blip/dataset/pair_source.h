#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/dataset/tar_samples.h"

namespace blip {

/// A picture and the texts that came with it, wherever they lie.
struct PairRecord {
  std::string name;                  ///< of the picture or sample, as its source has it
  std::string key;                   ///< the same in valid UTF-8
  std::optional<std::int64_t> id;    ///< where the source states one
  std::vector<std::string> texts;    ///< not blank, without white space around them, valid UTF-8
  bool human = false;                ///< people wrote the texts for this picture
  std::filesystem::path file;        ///< of the picture; empty: it is in `sample`
  TarSample sample;                  ///< of a tar
  std::string picture;               ///< ending of the picture in `sample`
  std::optional<std::string> bytes;  ///< of `file`, where somebody has read it before
  bool shares_sidecar = false;  ///< another picture before it has the same name but for the ending
  std::optional<Error> error;   ///< why the record cannot be used
  bool source_ends_here = false;  ///< with an error: what comes after cannot be read

  /// The picture's file. Throws Error{not_found, io, too_large}.
  std::string picture_bytes() const;
};

/// The next record of a part, or none at its end (false).
using PairReader = std::function<bool(PairRecord&)>;

enum class PairKind {
  folder,  ///< pictures with sidecars, or with a metadata.jsonl
  list,    ///< one JSON document: COCO's, Karpathy's, the authors'
  lines,   ///< a JSON object a line
  tars,    ///< WebDataset shards
};

struct PairSourceOptions {
  std::filesystem::path images;  ///< what pictures' names are relative to; empty: beside the file
  std::size_t part_size = 1000;  ///< records of a part; of tars each is one
  bool human = false;            ///< of all records
};

/// Pictures with texts, cut into parts that can be read for themselves. Tars and lines are read in
/// bounded memory; of a folder the names are kept, of a JSON document everything.
class PairSource {
 public:
  /// A folder of tars, a folder of pictures, "{000..099}.tar", a .tar, a .jsonl, or a JSON
  /// document. Throws Error{not_found, io, usage}.
  static PairSource open(const std::string& in, const PairSourceOptions& options = {});

  PairKind kind() const { return kind_; }
  /// Folder that pictures' names are relative to; empty for tars.
  const std::filesystem::path& images() const { return images_; }
  std::size_t parts() const { return names_.size(); }
  /// "000012", or a tar's name without its ending.
  const std::string& part_name(std::size_t part) const { return names_[part]; }
  /// Of all parts, unless the tars would have to be read for it.
  std::optional<std::size_t> records() const { return records_; }

  /// Reads a part from its beginning. A record that is damaged has its error. Throws
  /// Error{not_found, io} for a tar that cannot be opened; the reader throws nothing.
  PairReader read(std::size_t part) const { return read_(part); }

 private:
  struct Listing;
  struct Lines;
  void open_tars(const std::string& in, const PairSourceOptions& options);
  void open_lines(const std::filesystem::path& file, const PairSourceOptions& options);
  void open_list(std::shared_ptr<const Listing> listing, const PairSourceOptions& options);
  void number_parts(std::size_t records, std::size_t part_size);

  PairKind kind_ = PairKind::folder;
  std::filesystem::path images_;
  std::vector<std::string> names_;
  std::optional<std::size_t> records_;
  std::function<PairReader(std::size_t)> read_;
};

}  // namespace blip
