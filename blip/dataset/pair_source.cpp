#include "blip/dataset/pair_source.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "blip/base/file.h"
#include "blip/dataset/caption_dataset.h"
#include "blip/dataset/pair_texts.h"
#include "blip/dataset/picture_files.h"

namespace blip {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxPicture = std::size_t{1} << 30;
constexpr std::size_t kMaxLine = std::size_t{16} << 20;

bool is_tar_name(const std::string& name) {
  const std::size_t tar = name.rfind(".tar");
  return tar != std::string::npos && (tar + 4 == name.size() || name[tar + 4] == '.');
}

std::vector<std::string> tars_in(const fs::path& folder) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (is_tar_name(at->path().filename().string())) found.push_back(at->path().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

void name_record(PairRecord& record, std::string name) {
  record.key = valid_utf8(name);
  record.name = std::move(name);
}

PairReader read_tar(const std::string& file, bool human) {
  const auto tar = std::make_shared<TarReader>(file, TarReader::Repeated::begins_sample);
  return [=, done = false](PairRecord& record) mutable {
    record = {};
    record.human = human;
    if (done) return false;
    try {
      if (!tar->next(record.sample)) return false;
    } catch (const Error& e) {
      done = record.source_ends_here = true;
      record.error = e;
      if (record.sample.key.empty()) record.sample.key = "(end of " + file + ")";
    }
    name_record(record, record.sample.key);
    if (!record.error) record.error = record.sample.error;
    if (!record.error) take_texts(record);
    return true;
  };
}

/// Takes the row in a line of `file`. A bad one has its error, and its key is the line's number.
void take_line(PairRecord& record, std::string_view line, std::size_t number,
               const std::string& file) {
  const std::string key = "line " + std::to_string(number);
  const std::string where = key + " of " + file;
  try {
    if (line.size() > kMaxLine) throw Error(ErrorCode::too_large, where + " is over 16 MiB");
    take_row(record, line, where);
    record.key = valid_utf8(record.name);
  } catch (const Error& e) {
    record.error = e;
    record.key = key;
  }
}

}  // namespace

std::string PairRecord::picture_bytes() const {
  if (file.empty()) return sample.files.at(picture);
  if (bytes) return *bytes;
  return read_file(file, kMaxPicture);
}

/// Lines of a mapped file, and where each part begins.
struct PairSource::Lines {
  std::shared_ptr<const MappedFile> file;
  std::string name;
  std::vector<std::size_t> begins;   ///< bytes
  std::vector<std::size_t> numbers;  ///< of the lines that begin there, counted from 1

  std::string_view text() const {
    const auto bytes = file->bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  /// The line at `at`, which moves behind it.
  std::string_view next(std::size_t& at) const {
    const std::string_view all = text();
    const std::size_t end = std::min(all.find('\n', at), all.size());
    const std::string_view line = all.substr(at, end - at);
    at = std::min(end + 1, all.size());
    return line;
  }
};

/// A folder, or a document that is in memory.
struct PairSource::Listing {
  std::vector<CaptionedImage> images;
  bool sidecars = false;       ///< captions are beside the pictures, and read when their turn comes
  std::vector<bool> repeated;  ///< whether a picture before has the same name but for the ending
  /// Keys and errors of lines that are no rows, by the places that they have among `images`.
  std::map<std::size_t, std::pair<std::string, Error>> bad;

  /// A picture that comes again gets the texts of all its rows.
  static Listing of_rows(const Lines& lines) {
    Listing listing;
    std::unordered_map<std::string, std::size_t> place_of;
    for (std::size_t at = 0, number = 1; at < lines.text().size(); ++number) {
      const std::string_view line = lines.next(at);
      if (is_blank(line)) continue;
      PairRecord row;
      take_line(row, line, number, lines.name);
      const std::size_t place = listing.images.size();
      if (row.error) {
        listing.bad.try_emplace(place, row.key, *row.error);
        listing.images.emplace_back();
        continue;
      }
      const auto [known, added] = place_of.try_emplace(row.name, place);
      if (added) listing.images.push_back({0, row.name, {}});
      std::vector<std::string>& texts = listing.images[known->second].captions;
      texts.insert(texts.end(), row.texts.begin(), row.texts.end());
    }
    return listing;
  }

  void find_repeated() {
    std::unordered_set<std::string> seen;
    for (const CaptionedImage& image : images)
      repeated.push_back(!seen.insert(fs::path(image.file).replace_extension().string()).second);
  }
};

PairSource PairSource::open(const std::string& in, const PairSourceOptions& options) {
  PairSource source;
  std::error_code ignored;
  const bool folder = fs::is_directory(in, ignored);
  if (folder ? !tars_in(in).empty() : is_tar_name(in)) {
    source.open_tars(in, options);
    return source;
  }
  source.images_ = options.images;
  if (source.images_.empty()) source.images_ = folder ? fs::path(in) : fs::path(in).parent_path();
  if (!folder && fs::path(in).extension() == ".jsonl") {
    source.open_lines(in, options);
    return source;
  }
  Listing listing;
  const fs::path rows = fs::path(in) / "metadata.jsonl";
  if (!folder) {
    listing.images = read_captions(in, "", MissingId::numbered);
  } else if (fs::exists(rows, ignored)) {
    listing = Listing::of_rows({MappedFile::open(rows), rows.string(), {}, {}});
  } else {
    listing.sidecars = true;
    for (const fs::path& picture : pictures_in(in, true))
      listing.images.push_back({0, picture.lexically_relative(in).string(), {}});
  }
  source.kind_ = folder ? PairKind::folder : PairKind::list;
  listing.find_repeated();
  source.open_list(std::make_shared<const Listing>(std::move(listing)), options);
  return source;
}

void PairSource::open_tars(const std::string& in, const PairSourceOptions& options) {
  kind_ = PairKind::tars;
  std::error_code ignored;
  const std::vector<std::string> files =
      fs::is_directory(in, ignored) ? tars_in(in) : expand_braces(in);
  for (const std::string& file : files) {
    const std::string base = fs::path(file).filename().string();
    names_.push_back(base.substr(0, base.rfind(".tar")));
  }
  std::vector<std::string> sorted = names_;
  std::sort(sorted.begin(), sorted.end());
  if (const auto twice = std::adjacent_find(sorted.begin(), sorted.end()); twice != sorted.end())
    throw Error(ErrorCode::usage, "two shards are named " + in_quotes(*twice));
  read_ = [files, human = options.human](std::size_t part) { return read_tar(files[part], human); };
}

void PairSource::number_parts(std::size_t records, std::size_t part_size) {
  records_ = records;
  for (std::size_t begin = 0; begin < records; begin += part_size) {
    char name[32];
    std::snprintf(name, sizeof name, "%06zu", names_.size());
    names_.emplace_back(name);
  }
}

void PairSource::open_list(std::shared_ptr<const Listing> listing,
                           const PairSourceOptions& options) {
  number_parts(listing->images.size(), options.part_size);
  const bool ids = kind_ == PairKind::list;
  read_ = [=, images = images_, human = options.human, size = options.part_size](std::size_t part) {
    const std::size_t end = std::min((part + 1) * size, listing->images.size());
    return [=, at = part * size](PairRecord& record) mutable {
      record = {};
      record.human = human;
      if (at == end) return false;
      if (const auto bad = listing->bad.find(at); bad != listing->bad.end()) {
        std::tie(record.key, record.error) = bad->second;
        ++at;
        return true;
      }
      record.shares_sidecar = listing->repeated[at];
      const CaptionedImage& image = listing->images[at++];
      if (ids) record.id = image.id;
      name_record(record, image.file);
      record.file = images / image.file;
      try {
        if (image.file.empty()) throw Error(ErrorCode::io, "the annotations name no picture");
        for (const std::string& text :
             listing->sidecars ? read_sidecar(record.file) : image.captions) {
          add_text(record.texts, text);
        }
      } catch (const Error& e) {
        record.error = e;
      }
      if (record.key.empty()) record.key = "id " + std::to_string(image.id);
      return true;
    };
  };
}

void PairSource::open_lines(const fs::path& file, const PairSourceOptions& options) {
  kind_ = PairKind::lines;
  Lines lines{MappedFile::open(file), file.string(), {}, {}};
  std::size_t records = 0;
  for (std::size_t at = 0, number = 1; at < lines.text().size(); ++number) {
    const std::size_t begin = at;
    if (is_blank(lines.next(at))) continue;
    if (records++ % options.part_size != 0) continue;
    lines.begins.push_back(begin);
    lines.numbers.push_back(number);
  }
  number_parts(records, options.part_size);
  const auto shared = std::make_shared<const Lines>(std::move(lines));
  read_ = [=, images = images_, human = options.human, size = options.part_size](std::size_t part) {
    return [=, at = shared->begins[part], number = shared->numbers[part],
            left = size](PairRecord& record) mutable {
      record = {};
      record.human = human;
      std::string_view line;
      std::size_t line_number = 0;
      do {
        if (left == 0 || at == shared->text().size()) return false;
        line = shared->next(at);
        line_number = number++;
      } while (is_blank(line));
      --left;
      take_line(record, line, line_number, shared->name);
      if (!record.error) record.file = images / record.name;
      return true;
    };
  };
}

}  // namespace blip
