#include <cstdio>
#include <string>
#include <system_error>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "apps/cli/caption_store.h"
#include "blip/base/error.h"
#include "blip/dataset/caption_list.h"

namespace blip::cli {
namespace {

namespace fs = std::filesystem;

/// One file with a row for each picture, whose name is relative to the file's folder.
class ListStore : public CaptionStore {
 public:
  explicit ListStore(const CaptionFileFlags& flags)
      : flags_(flags),
        words_(flags),
        file_(flags.csv.empty() ? flags.metadata : flags.csv),
        existing_(flags.existing()),
        form_(flags.csv.empty() ? ListForm::jsonl : ListForm::csv),
        folder_(fs::absolute(file_).lexically_normal().parent_path()),
        list_(written_file(), form_) {
    if (adds()) old_ = rows_by_name(file_, form_);
    const std::string name = written_file().string();
    if (list_.cut_off() > 0)
      std::fprintf(stderr, "blip: %s: %zu bytes of a row that was not whole are cut off\n",
                   name.c_str(), list_.cut_off());
    if (rewrites() && list_.size() > 0)
      std::fprintf(stderr,
                   "blip: goes on with %s, which an earlier run left (delete it to begin "
                   "anew)\n",
                   name.c_str());
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
    const std::vector<std::string> texts = words_.texts(picture, tags, captions);
    if (const auto old = old_.find(name); old != old_.end()) {
      const std::string row =
          with_added(old->second, {texts, flags_.separator, existing_ == Existing::append}, form_);
      list_.append_row(name, row);
      return row != old->second;
    }
    list_.append(name, texts);
    unwritten_.erase(name);
    return true;
  }

  void finish() override {
    if (!rewrites()) return;
    std::error_code error;
    if (adds()) {
      if (list_.size() == 0) return;
      merge_rows(file_, written_file(), form_);
      fs::remove(written_file(), error);
      return;
    }
    // What failed keeps what it had.
    if (!unwritten_.empty()) list_.take_over(file_, unwritten_);
    fs::rename(written_file(), file_, error);
    if (error)
      throw Error(ErrorCode::io, "cannot write " + file_.string() + ": " + error.message());
  }

 private:
  bool adds() const { return existing_ == Existing::append || existing_ == Existing::prepend; }
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
  Existing existing_;
  ListForm form_;
  fs::path folder_;
  CaptionList list_;
  std::unordered_map<std::string, std::string> old_;  ///< rows that captions are added to
  std::unordered_set<std::string> unwritten_;         ///< pictures that are to be captioned anew
};

}  // namespace

std::unique_ptr<CaptionStore> open_list(const CaptionFileFlags& flags) {
  return std::make_unique<ListStore>(flags);
}

}  // namespace blip::cli
