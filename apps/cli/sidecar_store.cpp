#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <ostream>
#include <unordered_map>
#include <utility>

#include "apps/cli/caption_store.h"
#include "blip/base/error.h"
#include "blip/base/file.h"

namespace blip::cli {
namespace {

namespace fs = std::filesystem;

std::string lines(const std::vector<std::string>& texts) {
  std::string all;
  for (std::size_t i = 0; i < texts.size(); ++i) all += (i == 0 ? "" : "\n") + texts[i];
  return all;
}

[[noreturn]] void fail(const fs::path& sidecar, const std::string& reason) {
  throw Error(ErrorCode::io, "cannot write " + sidecar.string() + ": " + reason);
}

/// A file for each picture, beside it.
class Sidecars : public CaptionStore {
 public:
  explicit Sidecars(const CaptionFileFlags& flags)
      : flags_(flags), words_(flags), existing_(flags.existing()), joining_(flags.joining()) {}

  bool wants(const PictureInput& picture) override {
    if (picture.path.empty()) {
      throw Error(ErrorCode::usage,
                  "a picture on standard input has no place for a sidecar; name its file");
    }
    const fs::path sidecar = beside(picture);
    claim(picture, sidecar);
    std::error_code ignored;
    if (fs::exists(fs::symlink_status(sidecar, ignored))) {
      if (!fs::is_regular_file(sidecar, ignored)) fail(sidecar, "it is not a regular file");
      if (existing_ == Existing::skip) return false;
    }
    const fs::path folder = sidecar.parent_path().empty() ? "." : sidecar.parent_path();
    if (fs::exists(folder, ignored) && ::access(folder.c_str(), W_OK) != 0)
      fail(sidecar, std::strerror(errno));
    return true;
  }

  bool write(const PictureInput& picture, const std::vector<std::string>& captions) override {
    std::error_code ignored;
    // Somebody may have written it meanwhile.
    if (existing_ == Existing::skip && fs::exists(beside(picture), ignored)) return false;
    const bool renews_tags = words_.needs_tags() && flags_.tags == flags_.sidecar;
    const std::string ours =
        joining_ || renews_tags ? text_beside(picture.path, flags_.sidecar) : "";
    if (renews_tags && words_.made_before(picture, ours, captions.front())) return false;
    std::string tags = ours;
    if (words_.needs_tags() && !renews_tags) tags = text_beside(picture.path, flags_.tags);
    std::string text = lines(words_.texts(picture, tags, captions));
    if (joining_ && !ours.empty()) {
      text = joined(ours, trimmed(text), *joining_);
      if (text == ours) return false;
    }
    write_file(beside(picture), [&](std::ostream& out) { out << text << '\n'; });
    return true;
  }

 private:
  fs::path beside(const PictureInput& picture) const {
    return fs::path(picture.path).replace_extension(flags_.sidecar);
  }

  /// Throws Error{usage} when another picture has the same sidecar.
  void claim(const PictureInput& picture, const fs::path& sidecar) {
    std::error_code ignored;
    const std::string file = picture.path.filename().string();
    const std::string place = fs::absolute(sidecar, ignored).lexically_normal().string();
    const std::string& owner = owners_.try_emplace(place, file).first->second;
    if (owner == file) return;
    throw Error(ErrorCode::usage, picture.name + ": its caption would go where that of " + owner +
                                      " goes, " + sidecar.string() +
                                      "; rename one of them, or write to one file with --metadata");
  }

  CaptionFileFlags flags_;
  CaptionWords words_;
  Existing existing_;
  std::optional<Joining> joining_;
  std::unordered_map<std::string, std::string> owners_;  ///< the picture of each sidecar
};

}  // namespace

std::unique_ptr<CaptionStore> open_sidecars(const CaptionFileFlags& flags) {
  return std::make_unique<Sidecars>(flags);
}

}  // namespace blip::cli
