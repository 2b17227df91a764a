#include "blip/dataset/caption_dataset.h"

#include <cstddef>
#include <sstream>
#include <unordered_map>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/dataset/json_rows.h"
#include "blip/dataset/picture_files.h"

namespace blip {
namespace {

namespace fs = std::filesystem;

/// The number at the end of "val2014/COCO_val2014_000000391895.jpg".
std::int64_t number_in(const std::string& file, const std::string& where) {
  const std::string stem = std::filesystem::path(file).stem().string();
  const std::size_t before = stem.find_last_not_of("0123456789");
  std::string digits = stem.substr(before == std::string::npos ? 0 : before + 1);
  digits.erase(0, digits.find_first_not_of('0'));
  if (digits.empty() && stem.ends_with('0')) return 0;
  if (digits.empty() || digits.size() > 18) {
    throw Error(ErrorCode::io,
                where + " has no \"image_id\", and no number ends the name of its picture " +
                    in_quotes(file));
  }
  return std::stoll(digits);
}

class CaptionReader {
 public:
  CaptionReader(std::string file, std::string_view split, MissingId ids)
      : file_(std::move(file)), split_(split), ids_(ids) {}

  void take(const Row& row) {
    if (row.list() == "images" && row.has("sentences")) return take_karpathy(row);
    if (row.list() == "images") return take_coco_image(row);
    if (row.list() == "annotations") return take_coco_caption(row);
    if (row.list().empty()) return take_authors(row);
  }

  std::vector<CaptionedImage> finish() {
    if (!split_.empty() && !has_splits_) {
      throw Error(ErrorCode::usage,
                  file_ + " is not divided into splits; " + in_quotes(split_) + " was asked for");
    }
    if (images_.empty()) {
      if (has_splits_) throw Error(ErrorCode::usage, file_ + " has no split " + in_quotes(split_));
      throw Error(ErrorCode::io, file_ + " holds no captions in a known form");
    }
    return std::move(images_);
  }

 private:
  CaptionedImage& image(std::int64_t id) {
    const auto [entry, added] = index_of_.try_emplace(id, images_.size());
    if (added) images_.emplace_back().id = id;
    return images_[entry->second];
  }

  void name(CaptionedImage& image, std::string file, const Row& row) {
    if (!image.file.empty() && image.file != file) {
      throw Error(ErrorCode::io, row.where() + " has the id " + std::to_string(image.id) +
                                     " of another picture, " + in_quotes(image.file));
    }
    image.file = std::move(file);
  }

  void take_karpathy(const Row& row) {
    if (row.has("split")) {
      has_splits_ = true;
      if (!split_.empty() && row.text("split") != split_) return;
    }
    std::string file = row.text("filename");
    if (row.has("filepath")) file = row.text("filepath") + "/" + file;
    CaptionedImage& added = image(id_of(file, row, row.has("cocoid") ? "cocoid" : nullptr));
    name(added, std::move(file), row);
    for (const Row& sentence : row.rows("sentences"))
      added.captions.push_back(sentence.text("raw"));
  }

  void take_coco_image(const Row& row) {
    CaptionedImage& added = image(row.integer("id"));
    if (row.has("file_name")) name(added, row.text("file_name"), row);
  }

  void take_coco_caption(const Row& row) {
    image(row.integer("image_id")).captions.push_back(row.text("caption"));
  }

  void take_authors(const Row& row) {
    std::string file = row.text(row.has("file_name") ? "file_name" : "image");
    const char* const captions = row.has("caption") || !row.has("text") ? "caption" : "text";
    const bool stated = row.has("image_id") && !row.has_list(captions);
    CaptionedImage& added = image(id_of(file, row, stated ? "image_id" : nullptr));
    name(added, std::move(file), row);
    for (std::string& caption : row.texts(captions)) added.captions.push_back(std::move(caption));
  }

  /// By the row's field `key`, which may be null, or by the rule for pictures without an id.
  std::int64_t id_of(const std::string& file, const Row& row, const char* key) {
    if (ids_ == MissingId::numbered) {
      return number_of_.try_emplace(file, static_cast<std::int64_t>(number_of_.size()))
          .first->second;
    }
    if (key == nullptr) return number_in(file, row.where());
    try {
      return row.integer(key);
    } catch (const Error&) {
      return number_in(row.text(key), row.where());  // the authors' "coco_391895"
    }
  }

  std::string file_;
  std::string split_;
  MissingId ids_;
  std::unordered_map<std::string, std::int64_t> number_of_;
  bool has_splits_ = false;
  std::vector<CaptionedImage> images_;
  std::unordered_map<std::int64_t, std::size_t> index_of_;
};

constexpr std::size_t kMaxSidecar = std::size_t{1} << 20;

}  // namespace

std::vector<CaptionedImage> read_captions(const fs::path& file, std::string_view split,
                                          MissingId ids) {
  CaptionReader reader(file.string(), split, ids);
  const auto take = [&](const Row& row) { reader.take(row); };
  if (file.extension() == ".jsonl") {
    for_each_line(file, take);
  } else {
    for_each_row(file, take);
  }
  return reader.finish();
}

std::vector<std::string> read_sidecar(fs::path picture) {
  std::error_code ignored;
  for (const char* ending : {".txt", ".caption"}) {
    if (!fs::exists(picture.replace_extension(ending), ignored)) continue;
    return caption_lines(read_file(picture, kMaxSidecar));
  }
  return {};
}

std::vector<std::string> caption_lines(const std::string& text) {
  std::vector<std::string> captions;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) captions.push_back(line);
  }
  return captions;
}

std::vector<CaptionedImage> read_captioned_folder(const fs::path& folder) {
  std::error_code ignored;
  if (const fs::path rows = folder / "metadata.jsonl"; fs::exists(rows, ignored)) {
    return read_captions(rows, "", MissingId::numbered);
  }
  std::vector<CaptionedImage> images;
  for (const fs::path& picture : pictures_in(folder, true)) {
    const auto id = static_cast<std::int64_t>(images.size());
    images.push_back({id, picture.lexically_relative(folder).string(), read_sidecar(picture)});
  }
  return images;
}

}  // namespace blip
