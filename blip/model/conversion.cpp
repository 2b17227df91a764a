#include "blip/model/conversion.h"

#include <utility>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/checkpoint/safetensors.h"
#include "blip/checkpoint/weight_files.h"
#include "blip/model/blip.h"
#include "blip/ops/weight_matrix.h"

namespace blip {
namespace {

namespace fs = std::filesystem;

using NamedTensors = std::vector<std::pair<std::string, StoredTensor>>;

Shape shape_of(const WeightMatrix& matrix) {
  return {static_cast<std::int64_t>(matrix.out), static_cast<std::int64_t>(matrix.in)};
}

StoredTensor stored(const WeightMatrix& matrix) {
  constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::i8};
  const DType dtype = kTypes[static_cast<std::size_t>(matrix.precision)];
  const auto* bytes = static_cast<const std::byte*>(matrix.data);
  return {
      dtype, shape_of(matrix), {bytes, matrix.out * matrix.in * size_of(dtype)}, matrix.keep_alive};
}

StoredTensor stored(std::vector<float> values) {
  const auto kept = std::make_shared<const std::vector<float>>(std::move(values));
  return {
      DType::f32, {static_cast<std::int64_t>(kept->size())}, std::as_bytes(std::span(*kept)), kept};
}

StoredTensor stored(const Weight& weight) {
  return stored(std::vector<float>(weight.span().begin(), weight.span().end()));
}

/// A matrix and what belongs to it, under the names that Parameters reads.
void add_matrix(const std::string& name, const WeightMatrix& matrix, NamedTensors& tensors) {
  tensors.emplace_back(name + std::string(matrix.panels ? kWeightPanels : ".weight"),
                       stored(matrix));
  if (matrix.precision != Precision::int8) return;
  tensors.emplace_back(name + ".weight_scale", stored(matrix.scales));
  tensors.emplace_back(name + ".weight_sum",
                       stored(std::vector<float>(matrix.sums->begin(), matrix.sums->end())));
  if (!matrix.smoothing.empty())
    tensors.emplace_back(name + ".smoothing", stored(matrix.smoothing));
}

/// Every matrix that the model multiplies with, in the precision, by name.
std::map<std::string, WeightMatrix> matrices_of(const Checkpoint& checkpoint,
                                                const ConversionOptions& options) {
  std::map<std::string, WeightMatrix> matrices;
  const auto observe = [&](const std::string& name, const WeightMatrix& matrix, MatrixUse use) {
    // A tied output projection goes on sharing the word embeddings, which int8 cannot.
    const bool tied = !checkpoint.tensors.contains(name + ".weight");
    if (tied && options.precision != Precision::int8) return;
    WeightMatrix& kept = matrices[name] = matrix;
    const auto factors = options.smoothing.find(name);
    if (options.precision == Precision::int8 && factors != options.smoothing.end()) {
      const Weight values = checkpoint.tensors.weight(name + ".weight", shape_of(matrix));
      kept = to_int8(values, factors->second);
    }
    if (use == MatrixUse::pictures) kept = in_panels(kept);
  };
  const BlipModel model(checkpoint.config,
                        Parameters(checkpoint.tensors, options.precision, observe));
  return matrices;
}

NamedTensors converted_tensors(const Checkpoint& checkpoint, const ConversionOptions& options) {
  const std::map<std::string, WeightMatrix> matrices = matrices_of(checkpoint, options);
  NamedTensors tensors;
  for (const auto& [name, matrix] : matrices) add_matrix(name, matrix, tensors);
  for (const auto& [name, tensor] : checkpoint.tensors.tensors()) {
    if (name.ends_with(".weight") && matrices.contains(name.substr(0, name.rfind('.')))) continue;
    const bool lookup = name.ends_with("embeddings.word_embeddings.weight");
    if (lookup && options.precision != Precision::f32 && tensor.dtype != DType::bf16) {
      tensors.emplace_back(name, stored(to_bf16(checkpoint.tensors.weight(name, tensor.shape))));
    } else {
      tensors.emplace_back(name, tensor);
    }
  }
  return tensors;
}

void write_json(const fs::path& file, const Json& json) {
  write_file(file, [&](std::ostream& out) { out << json.dump(2) << '\n'; });
}

/// Tokenizer, preprocessor and the like: the JSON and text files that are no weights' index.
void copy_small_files(const fs::path& from, const fs::path& to) {
  constexpr std::size_t kLargest = 64u << 20;
  for (const fs::directory_entry& entry : fs::directory_iterator(from)) {
    const fs::path name = entry.path().filename();
    const bool text = name.extension() == ".json" || name.extension() == ".txt";
    if (!text || !entry.is_regular_file() || name == "config.json" ||
        name.string().ends_with(".index.json")) {
      continue;
    }
    const std::string content = read_file(entry.path(), kLargest);
    write_file(to / name, [&](std::ostream& out) { out << content; });
  }
}

Json config_json(const Checkpoint& checkpoint) {
  Json config = checkpoint.family == CheckpointFamily::authors
                    ? checkpoint.config.to_json()
                    : read_json(checkpoint.folder / "config.json");
  if (checkpoint.family == CheckpointFamily::authors) config["blip_family"] = "authors";
  return config;
}

}  // namespace

void check_original(const Checkpoint& checkpoint) {
  if (is_converted(checkpoint.tensors)) {
    throw Error(ErrorCode::usage,
                "the checkpoint is converted already; convert the one it came from");
  }
}

void write_converted(const Checkpoint& checkpoint, const ConversionOptions& options,
                     const fs::path& folder) {
  check_original(checkpoint);
  NewFolder out(folder);
  // What belongs to a .pth lies in nothing but the .pth and its med_config.json.
  if (fs::exists(checkpoint.folder / "config.json")) {
    copy_small_files(checkpoint.folder, out.path());
  }
  write_json(out.path() / "config.json", config_json(checkpoint));
  write_safetensors(out.path() / "model.safetensors", converted_tensors(checkpoint, options),
                    {{"format", "pt"}});
  out.give_name();
}

void write_report(const Json& report, const fs::path& folder) {
  const fs::path file = folder / "config.json";
  Json config = read_json(file);
  config["blip_precision"] = report;
  write_json(file, config);
}

}  // namespace blip
