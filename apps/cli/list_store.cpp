#include <cstdio>
#include <optional>
#include <string>
#include <system_error>
#include <unordered_set>
#include <vector>

#include "apps/cli/caption_store.h"
#include "blip/base/error.h"
#include "blip/dataset/caption_list.h"

namespace blip::cli {
namespace {

namespace fs = std::filesystem;

fs::path target_of(const fs::path& file) {
  std::error_code error;
  const fs::path target = fs::canonical(file, error);
  return error ? file : target;
}

/// One file with a row for each picture, whose name is relative to the file's folder.
class ListStore : public CaptionStore {
 public:
  explicit ListStore(const CaptionFileFlags& flags)
      : flags_(flags),
        words_(flags),
        file_(flags.csv.empty() ? flags.metadata : flags.csv),
        target_(target_of(file_)),
        existing_(flags.existing()),
        joining_(flags.joining()),
        form_(flags.csv.empty() ? ListForm::jsonl : ListForm::csv),
        folder_(fs::absolute(file_).lexically_normal().parent_path()),
        list_(written_file(), form_) {
    if (joining_) {
      old_.emplace(target_, form_);
      say_cut_off(*old_, target_);
      require_texts(target_, form_);  // before anything is computed
    }
    say_cut_off(list_, written_file());
    if (rewrites() && list_.size() > 0)
      std::fprintf(stderr,
                   "blip: goes on with %s, which an earlier run left (delete it to begin "
                   "anew)\n",
                   written_file().c_str());
  }

  bool wants(const PictureInput& picture) override {
    if (picture.path.empty())
      throw Error(ErrorCode::usage,
                  "a picture on standard input has no name for " + file_.string());
    const std::string name = name_of(picture);
    if (list_.has(name)) return false;
    if (existing_ == Existing::overwrite) unwritten_.insert(name);
    return true;
  }

  bool write(const PictureInput& picture, const std::vector<std::string>& captions) override {
    const std::string tags = words_.needs_tags() ? text_beside(picture.path, flags_.tags) : "";
    const std::string name = name_of(picture);
    list_.append(name, words_.texts(picture, tags, captions));
    unwritten_.erase(name);
    return true;
  }

  void finish() override {
    if (!rewrites()) return;
    std::error_code error;
    if (joining_) {
      if (list_.size() == 0) return;
      if (old_->size() == 0) old_.reset();  // it would take the file with it
      merge_captions(target_, written_file(), *joining_, form_);
      fs::remove(written_file(), error);
      return;
    }
    // What failed keeps what it had.
    if (!unwritten_.empty()) list_.take_over(file_, unwritten_);
    fs::rename(written_file(), target_, error);
    if (error)
      throw Error(ErrorCode::io, "cannot write " + file_.string() + ": " + error.message());
  }

 private:
  static void say_cut_off(const CaptionList& list, const fs::path& file) {
    if (list.cut_off() > 0)
      std::fprintf(stderr, "blip: %s: %zu bytes of a row that was not whole are cut off\n",
                   file.c_str(), list.cut_off());
  }

  bool rewrites() const { return existing_ != Existing::skip; }

  /// The old list stays until the new one is whole.
  fs::path written_file() const {
    switch (existing_) {
      case Existing::skip:
        return file_;
      case Existing::overwrite:
        return file_.string() + ".partial";
      case Existing::append:
        return file_.string() + ".append.partial";
      case Existing::prepend:
        return file_.string() + ".prepend.partial";
    }
    return {};
  }

  std::string name_of(const PictureInput& picture) const {
    return fs::absolute(picture.path).lexically_normal().lexically_relative(folder_).string();
  }

  CaptionFileFlags flags_;
  CaptionWords words_;
  fs::path file_;
  fs::path target_;  ///< the file itself where `file_` is a link to it
  Existing existing_;
  std::optional<Joining> joining_;
  ListForm form_;
  fs::path folder_;
  CaptionList list_;
  std::optional<CaptionList> old_;  ///< that captions are added to: no other run may write it
  std::unordered_set<std::string> unwritten_;  ///< pictures that are to be captioned anew
};

}  // namespace

std::unique_ptr<CaptionStore> open_list(const CaptionFileFlags& flags) {
  return std::make_unique<ListStore>(flags);
}

}  // namespace blip::cli
