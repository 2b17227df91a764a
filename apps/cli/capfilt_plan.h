#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "blip/base/json.h"
#include "blip/dataset/pair_source.h"

namespace blip::cli {

/// What `blip capfilt` writes.
enum class PairOutput { tars, folder, lines, coco };

/// What is to be read and written, before anything is.
struct CapFiltFiles {
  std::vector<std::string> in;     ///< web data
  std::vector<std::string> human;  ///< pooled unfiltered
  std::filesystem::path out;
  std::filesystem::path images;        ///< what names of web pictures are relative to; may be empty
  std::filesystem::path human_images;  ///< those of human pictures
  std::string kind;                    ///< of `out`: "tar", "folder", "jsonl", "coco"; empty: as IN
  std::size_t part_size = 1000;
};

/// One part of the work: what one worker does at a time, and does anew or goes on with.
struct CapFiltPart {
  std::size_t source = 0;
  std::size_t index = 0;  ///< within the source
  std::string name;       ///< unique among all
};

/// The parts of a job, and where everything lies. The same on every worker.
class CapFiltPlan {
 public:
  /// Opens the sources. Throws Error{usage} for inputs and an output that do not go together; what
  /// PairSource::open() throws.
  explicit CapFiltPlan(const CapFiltFiles& files);

  PairOutput output() const { return output_; }
  /// Whether pictures are copied to `out`, and not named there.
  bool copies_pictures() const {
    return output_ == PairOutput::tars || output_ == PairOutput::folder;
  }
  const std::filesystem::path& out() const { return out_; }
  const std::vector<CapFiltPart>& parts() const { return parts_; }
  std::size_t sources() const { return sources_.size(); }
  const PairSource& source(const CapFiltPart& part) const { return sources_[part.source]; }
  /// Folder below `out` for the pictures of the part (PairOutput::folder).
  std::filesystem::path pictures_of(const CapFiltPart& part) const;
  /// A picture's name in `out` (PairOutput::lines, coco): relative to --images, or to `out`'s
  /// folder.
  std::string name_in_out(const CapFiltPart& part, const std::string& key) const;

  /// Where parts are written.
  const std::filesystem::path& folder() const { return folder_; }
  /// Whether that is the result itself, and not put together and removed at the end.
  bool parts_stay() const { return output_ == PairOutput::tars; }
  std::filesystem::path file_of(const CapFiltPart& part, const char* ending) const;
  /// "statistics.json" and the like, of the whole.
  std::filesystem::path total(const std::string& what) const;

  /// What of the data makes a run another one: number and size of parts, where they are known.
  Json describe() const;

 private:
  void add(const std::string& in, const PairSourceOptions& options, const std::string& label);
  void choose_output(const std::string& kind);
  void place(const std::vector<std::string>& in);

  std::filesystem::path out_, folder_, base_;
  PairOutput output_ = PairOutput::lines;
  std::size_t part_size_;
  std::vector<PairSource> sources_;
  std::vector<std::string> labels_;  ///< of sources; the only one has none
  std::vector<CapFiltPart> parts_;
};

}  // namespace blip::cli
