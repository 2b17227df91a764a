#include "train/model/weights.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "blip/base/error.h"
#include "blip/checkpoint/names.h"
#include "blip/checkpoint/tensor_store.h"
#include "blip/checkpoint/weight_files.h"
#include "train/model/foreign_names.h"
#include "train/model/model_task.h"

namespace blip::train {
namespace {

namespace fs = std::filesystem;

using torch::Tensor;

ModelTask& model_of(Task& task) {
  auto* model = dynamic_cast<ModelTask*>(&task);
  if (model == nullptr) throw Error(ErrorCode::internal, "a task without a model");
  return *model;
}

TensorStore read_weights(const fs::path& path) {
  TensorStore store;
  store.set_origin(path.string());
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    read_weight_folder(path, store);
  } else {
    read_weight_file(path, store);
  }
  if (is_converted(store)) {
    throw Error(ErrorCode::usage, path.string() +
                                      " was converted for running (blip convert, blip quantize); "
                                      "give the checkpoint that it came from");
  }
  return store;
}

bool replace(std::string& name, std::string_view from, std::string_view to) {
  const std::size_t at = name.find(from);
  if (at == std::string::npos) return false;
  name.replace(at, from.size(), to);
  return true;
}

/// Where a parameter may come from, the best first.
std::vector<std::string> sources(const std::string& name) {
  std::vector<std::string> names = {name};
  const auto add_variant = [&](std::string_view from, std::string_view to) {
    const std::size_t count = names.size();
    for (std::size_t i = 0; i < count; ++i) {
      std::string variant = names[i];
      if (replace(variant, from, to)) names.push_back(variant);
    }
  };
  for (const char* branch : {"0.", "1."}) {
    add_variant("crossattention.self" + std::string(branch), "crossattention.self.");
    add_variant("crossattention.output.dense" + std::string(branch),
                "crossattention.output.dense.");
  }
  add_variant("cls.predictions.bias", "cls.predictions.decoder.bias");
  if (name.starts_with("text_decoder.bert.")) {
    add_variant("text_decoder.bert.", "text_encoder.");
  } else {
    add_variant("text_encoder.", "text_decoder.bert.");
  }
  return names;
}

Tensor read(const TensorStore& store, const std::string& name) {
  const Weight weight = store.weight(name, store.find(name)->shape);
  // A copy, since the file's memory is read-only and goes away.
  return torch::from_blob(const_cast<float*>(weight.data()), weight.shape()).clone();
}

/// [1, 1 + n^2, D] of another picture size, as the authors resample it.
Tensor resampled_positions(const Tensor& positions, std::int64_t tokens) {
  const auto side = [](std::int64_t patches) {
    return static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(patches))));
  };
  const std::int64_t from = side(positions.size(1) - 1), to = side(tokens - 1);
  if (from * from != positions.size(1) - 1) return positions;  // no square: misshapen
  const Tensor grid =
      positions.slice(1, 1).view({1, from, from, positions.size(2)}).permute({0, 3, 1, 2});
  const Tensor resized = at::upsample_bicubic2d(grid, {to, to}, /*align_corners=*/false);
  return at::cat({positions.slice(1, 0, 1), resized.permute({0, 2, 3, 1}).flatten(1, 2)}, 1);
}

/// What of a file's tensor fits a parameter. Undefined: nothing does.
Tensor fitted(const std::string& name, const Tensor& found, const Tensor& wanted) {
  if (found.sizes() == wanted.sizes()) return found;
  if (found.dim() != wanted.dim()) return {};
  if (name.ends_with("embeddings.position_embedding")) {
    const Tensor resized = resampled_positions(found, wanted.size(1));
    return resized.sizes() == wanted.sizes() ? resized : Tensor();
  }
  if (found.dim() == 2 && found.size(1) != wanted.size(1)) return {};
  if (name.ends_with("embeddings.position_embeddings.weight")) {
    return found.slice(0, 0, wanted.size(0));
  }
  constexpr std::int64_t kAddedTokens = 2;  // [DEC] and [ENC]
  const bool vocabulary =
      name.ends_with("word_embeddings.weight") || name.ends_with("cls.predictions.bias");
  const std::int64_t more = wanted.size(0) - found.size(0);
  return vocabulary && more > 0 && more <= kAddedTokens ? found : Tensor();
}

/// Copies into the parameters whose names begin with `prefix` what `store` has for them.
LoadReport fill(ModelTask& task, const TensorStore& store,
                const std::vector<std::string>& prefixes) {
  torch::NoGradGuard no_grad;
  LoadReport report;
  for (const Parameters::Entry& entry : task.parameters_by_name().entries()) {
    const auto begins = [&](const std::string& prefix) { return entry.name.starts_with(prefix); };
    if (entry.tied || Parameters::is_lora(entry.name) ||
        std::none_of(prefixes.begin(), prefixes.end(), begins)) {
      continue;
    }
    const std::vector<std::string> names = sources(entry.name);
    const auto source = std::find_if(names.begin(), names.end(),
                                     [&](const std::string& name) { return store.contains(name); });
    if (source == names.end()) {
      report.missing.push_back(entry.name);
      continue;
    }
    const Tensor values = fitted(entry.name, read(store, *source), entry.tensor);
    if (!values.defined()) {
      report.misshapen.push_back(entry.name + ", " + to_string(store.find(*source)->shape) +
                                 " in the file");
      continue;
    }
    entry.tensor.slice(0, 0, values.size(0)).copy_(values);
    ++report.loaded;
  }
  if (report.loaded == 0) {
    throw Error(ErrorCode::usage,
                store.origin() + " has nothing that fits this model: " +
                    std::to_string(report.missing.size()) + " of its parameters are not there, " +
                    std::to_string(report.misshapen.size()) + " have another shape");
  }
  return report;
}

bool has_authors_names(const TensorStore& store) {
  const auto at = store.tensors().lower_bound("visual_encoder.");
  return at != store.tensors().end() && at->first.starts_with("visual_encoder.");
}

TensorStore with_our_names(const TensorStore& store) {
  if (!has_authors_names(store)) return store;
  TensorStore renamed;
  renamed.set_origin(store.origin());
  for (const auto& [name, tensor] : store.tensors()) {
    if (std::string ours = transformers_name(name); !ours.empty()) renamed.add(ours, tensor);
  }
  return renamed;
}

/// Momentum copies, queues and temperature of an authors' .pth.
void fill_training_state(ModelTask& task, const TensorStore& store) {
  torch::NoGradGuard no_grad;
  bool copies = true;
  for (const auto& [name, tensor] : task.training_state()) {
    const StoredTensor* found = store.find(name);
    const bool fits = found != nullptr && torch::IntArrayRef(found->shape) == tensor.sizes();
    const bool copy = name.find("_m.") != std::string::npos;
    if (copy && !fits) copies = false;
    if (!fits) continue;
    Tensor target = tensor;
    if (found->dtype == DType::i64) {
      target.copy_(torch::from_blob(const_cast<std::byte*>(found->bytes.data()), found->shape,
                                    torch::kLong));
    } else {
      target.copy_(read(store, name));
    }
  }
  if (!copies) task.reset_training_state();
}

}  // namespace

LoadReport load_checkpoint(Task& task, const fs::path& path) {
  ModelTask& model = model_of(task);
  const TensorStore store = read_weights(path);
  LoadReport report = fill(model, with_our_names(store), {""});
  fill_training_state(model, store);
  return report;
}

LoadReport load_vision(Task& task, const fs::path& path) {
  ModelTask& model = model_of(task);
  LoadReport report = fill(model, vit_as_blip(read_weights(path)), {"vision_model."});
  model.reset_training_state();
  return report;
}

LoadReport load_text(Task& task, const fs::path& path) {
  ModelTask& model = model_of(task);
  LoadReport report =
      fill(model, bert_as_blip(read_weights(path)), {"text_encoder.", "text_decoder."});
  model.reset_training_state();
  return report;
}

}  // namespace blip::train
