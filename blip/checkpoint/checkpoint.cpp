#include "blip/checkpoint/checkpoint.h"

#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "blip/base/error.h"
#include "blip/checkpoint/authors_config.h"
#include "blip/checkpoint/names.h"
#include "blip/checkpoint/weight_files.h"

namespace blip {
namespace {

namespace fs = std::filesystem;

/// In the config.json of a converted authors' checkpoint, whose conventions it keeps.
constexpr const char* kFamilyKey = "blip_family";

/// In the config.json of a quantised checkpoint: what its accuracy gate found.
constexpr const char* kGateKey = "blip_precision";

/// null when there is no such file.
Json read_optional_json(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(file, ignored) ? read_json(file) : Json();
}

Json read_config(const fs::path& folder) {
  const fs::path file = folder / "config.json";
  std::error_code ignored;
  if (!fs::exists(file, ignored)) {
    throw Error(ErrorCode::not_found,
                folder.string() + " has no config.json, which a Hugging Face checkpoint has");
  }
  return read_json(file);
}

/// What config.json and its text_config say of generation, as checkpoints without a
/// generation_config.json have it. A max_length of 20 there is a written-out default.
Json generation_of(const Json& config) {
  Json generation = Json::object();
  if (!config.is_object()) return generation;
  if (config.contains("text_config") && config["text_config"].is_object()) {
    generation.update(config["text_config"]);
  }
  generation.update(config);
  const auto max_length = generation.find("max_length");
  if (max_length != generation.end() && *max_length == 20) generation.erase(max_length);
  return generation;
}

void add_transformers_files(const fs::path& folder, Checkpoint& checkpoint) {
  const Json config = read_config(folder);
  const bool authors = config.is_object() && config.value(kFamilyKey, Json()) == "authors";
  checkpoint.family = authors ? CheckpointFamily::authors : CheckpointFamily::transformers;
  checkpoint.config = BlipConfig::from_json(config);
  const Json gate = config.value(kGateKey, Json());
  checkpoint.failed_gate = gate.is_object() && gate.value("passes", Json()) == false;
  checkpoint.preprocessor = read_optional_json(folder / "preprocessor_config.json");
  checkpoint.generation = read_optional_json(folder / "generation_config.json");
  if (checkpoint.generation.is_null()) checkpoint.generation = generation_of(config);
}

bool has_authors_names(const TensorStore& tensors) {
  const auto at = tensors.tensors().lower_bound("visual_encoder.");
  return at != tensors.tensors().end() && at->first.starts_with("visual_encoder.");
}

TensorStore renamed(const TensorStore& tensors) {
  TensorStore out;
  out.set_origin(tensors.origin());
  for (const auto& [name, tensor] : tensors.tensors()) {
    if (std::string known = transformers_name(name); !known.empty())
      out.add(std::move(known), tensor);
  }
  return out;
}

/// The decoder of pre-training shares all with the encoder but self-attention; a folder may hold
/// what is shared once. Gives it both names.
void share_decoder(TensorStore& tensors) {
  const std::string encoder = "text_encoder.", decoder = "text_decoder.bert.";
  std::vector<std::pair<std::string, StoredTensor>> shared;
  for (const auto& [name, tensor] : tensors.tensors()) {
    if (!name.starts_with(encoder) || name.find(".attention.") != std::string::npos) continue;
    std::string twin = decoder + name.substr(encoder.size());
    if (!tensors.contains(twin)) shared.emplace_back(std::move(twin), tensor);
  }
  for (auto& [name, tensor] : shared) tensors.add(std::move(name), std::move(tensor));
}

Checkpoint open_folder(const fs::path& folder) {
  Checkpoint checkpoint;
  checkpoint.folder = folder;
  checkpoint.tensors.set_origin(folder.string());
  add_transformers_files(folder, checkpoint);
  read_weight_folder(folder, checkpoint.tensors);
  if (checkpoint.config.architecture == Architecture::pretrain) share_decoder(checkpoint.tensors);
  return checkpoint;
}

Checkpoint open_file(const fs::path& file, const AuthorsOptions& options) {
  Checkpoint checkpoint;
  checkpoint.folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  checkpoint.tensors.set_origin(file.string());
  read_weight_file(file, checkpoint.tensors);
  const bool authors = file.extension() != ".safetensors" && has_authors_names(checkpoint.tensors);
  std::error_code ignored;
  if (!authors && fs::exists(checkpoint.folder / "config.json", ignored)) {
    add_transformers_files(checkpoint.folder, checkpoint);
    if (checkpoint.config.architecture == Architecture::pretrain) share_decoder(checkpoint.tensors);
    return checkpoint;
  }
  if (file.extension() == ".safetensors") {
    throw Error(ErrorCode::not_found,
                file.string() + " has no config.json beside it, which tells what model it is");
  }
  checkpoint.family = CheckpointFamily::authors;
  checkpoint.tensors = renamed(checkpoint.tensors);
  const Json med_config = read_optional_json(checkpoint.folder / "med_config.json");
  checkpoint.config = authors_config(checkpoint.tensors, med_config, options);
  return checkpoint;
}

}  // namespace

Checkpoint open_checkpoint(const fs::path& path, const AuthorsOptions& options) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    throw Error(ErrorCode::not_found, "there is no checkpoint at " + path.string());
  }
  return fs::is_directory(path, ignored) ? open_folder(path) : open_file(path, options);
}

}  // namespace blip
