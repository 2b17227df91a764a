#include "apps/cli/capfilt_plan.h"

#include <algorithm>
#include <map>
#include <unordered_set>

#include "blip/base/error.h"
#include "blip/dataset/pair_texts.h"

namespace blip::cli {
namespace {

namespace fs = std::filesystem;

const std::map<std::string, PairOutput> kOutputs = {{"tar", PairOutput::tars},
                                                    {"folder", PairOutput::folder},
                                                    {"jsonl", PairOutput::lines},
                                                    {"coco", PairOutput::coco}};

PairOutput same_as(PairKind kind) {
  switch (kind) {
    case PairKind::tars:
      return PairOutput::tars;
    case PairKind::folder:
      return PairOutput::folder;
    case PairKind::list:
      return PairOutput::coco;
    case PairKind::lines:
      break;
  }
  return PairOutput::lines;
}

[[noreturn]] void refuse(const std::string& sentence) {
  throw Error(ErrorCode::usage, sentence);
}

/// Nothing is the working folder.
fs::path whole_path(const fs::path& folder) {
  return (fs::current_path() / folder).lexically_normal();
}

/// Whether `path` is `folder` or lies below it.
bool is_below(const fs::path& path, const fs::path& folder) {
  std::error_code ignored;
  const fs::path relative =
      fs::weakly_canonical(path, ignored).lexically_relative(fs::weakly_canonical(folder, ignored));
  return !relative.empty() && *relative.begin() != "..";
}

}  // namespace

CapFiltPlan::CapFiltPlan(const CapFiltFiles& files) : out_(files.out), part_size_(files.part_size) {
  const bool several = files.in.size() + files.human.size() > 1;
  for (std::size_t i = 0; i < files.in.size(); ++i)
    add(files.in[i], {files.images, part_size_, false}, several ? std::to_string(i) : "");
  for (std::size_t i = 0; i < files.human.size(); ++i) {
    add(files.human[i], {files.human_images, part_size_, true},
        files.human.size() > 1 ? "human" + std::to_string(i) : "human");
  }
  choose_output(files.kind);
  if (parts_.empty()) throw Error(ErrorCode::not_found, files.in.front() + " holds no records");
  const auto in_tars = [](const PairSource& source) { return source.kind() == PairKind::tars; };
  if (!files.images.empty() && std::all_of(sources_.begin(), sources_.end(), in_tars))
    refuse("--images has no effect on pictures in tars");
  if (!out_.has_filename()) out_ = out_.parent_path();  // "clean/"
  place(files.in);
  base_ = whole_path(files.images.empty() ? out_.parent_path() : files.images);
}

void CapFiltPlan::add(const std::string& in, const PairSourceOptions& options,
                      const std::string& label) {
  const PairSource& source = sources_.emplace_back(PairSource::open(in, options));
  labels_.push_back(label);
  // Shards that people named keep their names; numbers would come twice.
  const std::string prefix =
      label.empty() || (source.kind() == PairKind::tars && !options.human) ? "" : label + "_";
  for (std::size_t i = 0; i < source.parts(); ++i)
    parts_.push_back({sources_.size() - 1, i, prefix + source.part_name(i)});
}

void CapFiltPlan::choose_output(const std::string& kind) {
  output_ = kind.empty() ? same_as(sources_.front().kind()) : kOutputs.at(kind);
  for (const PairSource& source : sources_) {
    const bool tars = source.kind() == PairKind::tars;
    if (tars && (output_ == PairOutput::lines || output_ == PairOutput::coco)) {
      refuse(
          "pictures in tars can be written as tars or as a folder (--to tar, --to folder), not "
          "as a file that names them");
    }
    if (source.kind() == PairKind::lines && output_ == PairOutput::folder) {
      refuse(
          "lines may name a picture twice, which a folder cannot hold; write tar, jsonl or coco "
          "(--to)");
    }
  }
  std::unordered_set<std::string> names;
  for (const CapFiltPart& part : parts_) {
    if (!names.insert(part.name).second) refuse("two shards are named " + in_quotes(part.name));
    if (part.name.starts_with('_') || part.name.starts_with('.')) {
      refuse("the shard " + in_quotes(part.name) + " has a name of this program's own files");
    }
  }
}

/// Where parts lie while the work goes on.
void CapFiltPlan::place(const std::vector<std::string>& in) {
  std::error_code ignored;
  const bool folder = copies_pictures();
  folder_ = output_ == PairOutput::tars     ? out_
            : output_ == PairOutput::folder ? out_ / ".capfilt"
                                            : fs::path(out_.string() + ".parts");
  if (folder != fs::is_directory(out_, ignored) && fs::exists(out_, ignored)) {
    refuse(out_.string() + (folder ? " is not a folder" : " is a folder") +
           "; name another output");
  }
  for (const std::string& one : in) {
    if (fs::equivalent(one, out_, ignored))
      refuse(out_.string() + " is the input as well; name another output");
    if (folder && fs::is_directory(one, ignored) && is_below(out_, one)) {
      refuse(out_.string() + " lies in " + one +
             ", where it would be read as well; name another output");
    }
    // A folder in front of tars: they would be replaced while they are read.
    if (folder && fs::exists(one, ignored) && is_below(one, out_)) {
      refuse("the output " + out_.string() + " holds the input " + one + "; name another output");
    }
  }
}

fs::path CapFiltPlan::pictures_of(const CapFiltPart& part) const {
  const bool tars = sources_[part.source].kind() == PairKind::tars;
  // Shards may have samples of the same name.
  return tars ? out_ / part.name : out_ / labels_[part.source];
}

std::string CapFiltPlan::name_in_out(const CapFiltPart& part, const std::string& key) const {
  if (fs::path(key).is_absolute()) return key;
  const fs::path picture = whole_path(sources_[part.source].images()) / fs::path(key);
  return valid_utf8(picture.lexically_normal().lexically_proximate(base_).string());
}

fs::path CapFiltPlan::file_of(const CapFiltPart& part, const char* ending) const {
  return folder_ / (part.name + ending);
}

fs::path CapFiltPlan::total(const std::string& what) const {
  if (copies_pictures()) return out_ / ("_" + what);
  return out_.parent_path() / (out_.stem().string() + "_" + what);
}

Json CapFiltPlan::describe() const {
  Json json = Json::array();
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (!sources_[i].records()) continue;
    json.push_back({{"source", labels_[i]}, {"records", *sources_[i].records()}});
  }
  for (const auto& [word, output] : kOutputs) {
    if (output == output_) return {{"output", word}, {"part_size", part_size_}, {"sources", json}};
  }
  return json;
}

}  // namespace blip::cli
