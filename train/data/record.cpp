#include "train/data/record.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "blip/base/error.h"
#include "blip/base/json.h"
#include "blip/base/random.h"
#include "blip/dataset/caption_dataset.h"
#include "blip/dataset/nlvr_dataset.h"
#include "blip/dataset/text_cleaning.h"
#include "blip/dataset/vqa_dataset.h"

namespace blip::train {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kCountedOver = 1000;
constexpr std::int64_t kTold = 20;
/// What the authors give to answers of Visual Genome, which one person gave.
constexpr float kVisualGenomeWeight = 0.2F;

constexpr std::array<const char*, 8> kPictureEndings = {"jpg", "jpeg", "png", "webp",
                                                        "tif", "tiff", "gif", "bmp"};

/// One element of DataOptions::train.
struct Source {
  std::vector<fs::path> files;  ///< or one folder
  fs::path pictures;
};

/// "a+b" where no file of that name is there.
std::vector<fs::path> split_files(const std::string& text) {
  std::error_code ignored;
  if (fs::exists(text, ignored)) return {text};
  std::vector<fs::path> files;
  std::size_t begin = 0;
  for (std::size_t plus = text.find('+'); plus != std::string::npos; plus = text.find('+', begin)) {
    files.emplace_back(text.substr(begin, plus - begin));
    begin = plus + 1;
  }
  files.emplace_back(text.substr(begin));
  return files;
}

Source source_at(const DataOptions& options, std::size_t i) {
  Source source{split_files(options.train[i]), picture_folder(options, i)};
  if (source.pictures.empty()) {
    const fs::path& first = source.files.front();
    source.pictures = fs::is_directory(first) ? first : first.parent_path();
  }
  return source;
}

std::string clean(const std::string& caption, const DataOptions& options) {
  return clean_caption(caption, static_cast<std::size_t>(options.max_words));
}

class Collector {
 public:
  Collector(const DataOptions& options, BadRecords& bad) : options_(options), bad_(bad) {}

  void add_captions(const Source& source) {
    const fs::path& file = source.files.front();
    if (source.files.size() > 1) refuse(source, "captions come from one file");
    const std::vector<CaptionedImage> images =
        fs::is_directory(file) ? read_captioned_folder(file)
                               : read_captions(file, options_.split, MissingId::numbered);
    for (const CaptionedImage& image : images) {
      const std::string path = (source.pictures / image.file).string();
      if (image.captions.empty()) bad_.bad(path + " has no caption");
      for (const std::string& caption : image.captions) {
        const std::string text = clean(caption, options_);
        if (text.empty() || image.file.empty()) {
          bad_.bad(path + (text.empty() ? " has an empty caption" : ": no picture is named"));
          continue;
        }
        Record record = with_picture(path, options_.prompt + text);
        record.image_id = next_image_;
        list_.records.push_back(std::move(record));
      }
      ++next_image_;
    }
  }

  void add_questions(const Source& source) {
    for (const VqaQuestion& question : read_vqa(source.files)) {
      const std::string path = (source.pictures / question.image).string();
      const std::string text =
          clean_question(question.text, static_cast<std::size_t>(options_.max_words));
      Record record = with_picture(path, text);
      record.key = "question " + std::to_string(question.id) + " (" + path + ")";
      add_answers(question, record);
      if (text.empty() || question.image.empty() || record.answers.empty()) {
        bad_.bad(record.key + " has no text, no picture or no answer");
        continue;
      }
      list_.records.push_back(std::move(record));
    }
  }

  void add_statements(const Source& source) {
    if (source.files.size() > 1) refuse(source, "statements come from one file");
    for (const NlvrExample& example : read_nlvr(source.files.front())) {
      const std::string text = clean(example.sentence, options_);
      if (text.empty() || !example.label.has_value()) {
        bad_.bad("statement " + example.identifier + " has no text or no label");
        continue;
      }
      Record record;
      record.key = "statement " + example.identifier;
      for (const std::string& image : example.images) {
        record.pictures.push_back((source.pictures / image).string());
      }
      record.text = text;
      record.label = *example.label;
      list_.records.push_back(std::move(record));
    }
  }

  void end_source() {
    const std::size_t before = list_.ends.empty() ? 0 : list_.ends.back();
    bad_.good(static_cast<std::int64_t>(list_.records.size() - before));
    list_.ends.push_back(list_.records.size());
  }

  RecordList take() { return std::move(list_); }

 private:
  [[noreturn]] static void refuse(const Source& source, const char* reason) {
    throw Error(ErrorCode::usage, std::string(reason) + "; " + source.files[1].string() +
                                      " was named beside " + source.files[0].string());
  }

  static Record with_picture(const std::string& path, std::string text) {
    Record record;
    record.key = path;
    record.pictures = {path};
    record.text = std::move(text);
    return record;
  }

  /// Each answer once, weighted by the share of people who gave it.
  static void add_answers(const VqaQuestion& question, Record& record) {
    const bool from_one = question.dataset == "vg";
    const float part =
        from_one ? kVisualGenomeWeight : 1.0F / static_cast<float>(question.answers.size());
    for (const std::string& answer : question.answers) {
      if (answer.find_first_not_of(' ') == std::string::npos) continue;
      const auto known = std::find(record.answers.begin(), record.answers.end(), answer);
      if (known == record.answers.end()) {
        record.answers.push_back(answer);
        record.weights.push_back(part);
      } else if (!from_one) {
        record.weights[static_cast<std::size_t>(known - record.answers.begin())] += part;
      }
    }
  }

  const DataOptions& options_;
  BadRecords& bad_;
  RecordList list_;
  std::int64_t next_image_ = 0;
};

bool is_tar_name(const std::string& name) {
  for (const char* ending : {".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz"}) {
    if (name.ends_with(ending)) return true;
  }
  return false;
}

std::vector<std::string> tars_in(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (is_tar_name(entry.path().string())) found.push_back(entry.path().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// "caption" or "text" of a sample's JSON; empty when there is none.
std::string text_in(const std::string& json, const std::string& where) {
  Json parsed;
  try {
    parsed = parse_json(json, where);
  } catch (const Error& e) {
    throw Error(ErrorCode::io, e.what());  // it is no model
  }
  for (const char* key : {"caption", "text"}) {
    if (parsed.is_object() && parsed.contains(key) && parsed[key].is_string()) {
      return parsed[key].get<std::string>();
    }
  }
  return "";
}

std::string text_of(TarSample& sample, const std::string& where) {
  for (const char* ending : {"txt", "caption"}) {
    if (const auto found = sample.files.find(ending); found != sample.files.end()) {
      return found->second;
    }
  }
  const auto json = sample.files.find("json");
  return json == sample.files.end() ? "" : text_in(json->second, where);
}

/// One of the lines that are not blank; empty when there is none.
std::string one_line(const std::string& text, std::uint64_t draw) {
  const std::vector<std::string> lines = caption_lines(text);
  if (lines.empty()) return "";
  std::string line = lines[Random(draw).next() % lines.size()];
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

}  // namespace

void BadRecords::bad(const std::string& reason) {
  ++bad_;
  ++seen_;
  if (bad_ <= kTold) tell_("passed over: " + reason);
  if (bad_ == kTold) tell_("further records that are passed over are counted only");
  if (static_cast<double>(bad_) <=
      max_share_ * static_cast<double>(std::max(seen_, kCountedOver))) {
    return;
  }
  throw Error(ErrorCode::io, std::to_string(bad_) + " of " + std::to_string(seen_) +
                                 " records cannot be used, more than \"data.max_bad_share\" allows "
                                 "(the last: " +
                                 reason + ")");
}

std::string picture_folder(const DataOptions& options, std::size_t source) {
  if (options.images.empty()) return "";
  return options.images.size() == 1 ? options.images[0] : options.images.at(source);
}

RecordList read_records(const DataOptions& options, DataKind kind, BadRecords& bad) {
  Collector collector(options, bad);
  for (std::size_t i = 0; i < options.train.size(); ++i) {
    const Source source = source_at(options, i);
    switch (kind) {
      case DataKind::captions:
        collector.add_captions(source);
        break;
      case DataKind::questions:
        collector.add_questions(source);
        break;
      case DataKind::statements:
        collector.add_statements(source);
        break;
    }
    collector.end_source();
  }
  RecordList list = collector.take();
  if (list.records.empty()) {
    throw Error(ErrorCode::usage, "\"data.train\" names nothing to learn from");
  }
  return list;
}

bool names_shards(const std::string& source) {
  return is_tar_name(source) || (fs::is_directory(source) && !tars_in(source).empty());
}

std::vector<std::string> list_shards(const std::vector<std::string>& sources) {
  std::vector<std::string> shards;
  for (const std::string& source : sources) {
    std::vector<std::string> files =
        fs::is_directory(source) ? tars_in(source) : expand_braces(source);
    for (std::string& file : files) {
      if (!fs::exists(file)) throw Error(ErrorCode::not_found, "there is no shard " + file);
      shards.push_back(std::move(file));
    }
  }
  return shards;
}

Record record_of(TarSample sample, const std::string& shard, const DataOptions& options,
                 std::uint64_t draw) {
  Record record;
  record.key = shard + ":" + sample.key;
  if (sample.error) throw *sample.error;
  const auto picture = std::find_if(kPictureEndings.begin(), kPictureEndings.end(),
                                    [&](const char* e) { return sample.files.contains(e); });
  if (picture == kPictureEndings.end()) throw Error(ErrorCode::io, record.key + " has no picture");
  const std::string text = clean(one_line(text_of(sample, record.key), draw), options);
  if (text.empty()) throw Error(ErrorCode::io, record.key + " has no text");
  record.text = options.prompt + text;
  record.encoded.push_back(std::move(sample.files[*picture]));
  return record;
}

}  // namespace blip::train
