#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/cli/caption_template.h"
#include "apps/cli/flags.h"
#include "apps/cli/inputs.h"
#include "blip/dataset/caption_list.h"

namespace blip::cli {

/// What becomes of texts that are there already.
enum class Existing { skip, overwrite, append, prepend };

/// Where captions go instead of standard output, and in which words.
struct CaptionFileFlags {
  std::string sidecar;   ///< ".txt"
  std::string metadata;  ///< a file
  std::string csv;       ///< a file
  bool skip = false;     ///< as without any of these
  bool overwrite = false;
  bool append = false;
  bool prepend = false;
  std::string separator = ", ";
  std::string prefix;
  std::string suffix;
  std::string pattern = "{caption}";
  std::string tags;  ///< the ending of the files that {tags} stands for

  void add_to(CLI::App& command);
  bool given() const { return !sidecar.empty() || !metadata.empty() || !csv.empty(); }
  Existing existing() const;
  /// How captions join a text that is there; nothing where they do not.
  std::optional<Joining> joining() const;
  /// Brings the values into their form, once. `several`: a picture may have more than one caption.
  /// Throws Error{usage} for flags that make no sense together.
  void check(bool several);

 private:
  std::vector<const CLI::Option*> for_files_;  ///< only with a sidecar or a list
};

/// The texts of a picture, made of its captions.
class CaptionWords {
 public:
  explicit CaptionWords(const CaptionFileFlags& flags);

  bool needs_tags() const { return template_.has_tags(); }
  /// A text for each caption.
  std::vector<std::string> texts(const PictureInput& picture, const std::string& tags,
                                 const std::vector<std::string>& captions) const;
  /// Whether `text` is what an earlier run made of other tags and this caption.
  bool made_before(const PictureInput& picture, const std::string& text,
                   const std::string& caption) const;

 private:
  CaptionTemplate template_;
};

/// Keeps captions of pictures. One thread.
class CaptionStore {
 public:
  virtual ~CaptionStore() = default;

  /// Whether a picture is to be captioned: it has none, or others are to take its place. Throws
  /// blip::Error when there is no place for them.
  virtual bool wants(const PictureInput& picture) = 0;
  /// Whole or not at all. False: they are there already. Throws blip::Error.
  virtual bool write(const PictureInput& picture, const std::vector<std::string>& captions) = 0;
  /// All is written.
  virtual void finish() {}
};

/// Throws Error{usage, io}.
std::unique_ptr<CaptionStore> open_caption_store(const CaptionFileFlags& flags);

std::unique_ptr<CaptionStore> open_sidecars(const CaptionFileFlags& flags);
std::unique_ptr<CaptionStore> open_list(const CaptionFileFlags& flags);

/// `text` without the blanks and line ends at its ends.
std::string trimmed(std::string text);

/// The text in the file beside a picture whose name ends in `ending`, without blanks at its ends;
/// empty when there is no such file. Throws Error{io, too_large}.
std::string text_beside(const std::filesystem::path& picture, const std::string& ending);

}  // namespace blip::cli
