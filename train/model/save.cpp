#include "train/model/save.h"

#include <map>
#include <memory>

#include "blip/base/file.h"
#include "blip/base/json.h"
#include "blip/checkpoint/names.h"
#include "blip/checkpoint/safetensors.h"
#include "blip/checkpoint/torch_writer.h"

namespace blip::train {
namespace {

namespace fs = std::filesystem;

using NamedTensors = std::vector<std::pair<std::string, StoredTensor>>;

StoredTensor stored(const torch::Tensor& tensor) {
  const bool whole = tensor.scalar_type() == torch::kLong;
  const auto kept = std::make_shared<const torch::Tensor>(
      tensor.detach().to(torch::kCPU, whole ? torch::kLong : torch::kFloat).contiguous());
  const auto* bytes = static_cast<const std::byte*>(kept->data_ptr());
  return {whole ? DType::i64 : DType::f32,
          Shape(kept->sizes().begin(), kept->sizes().end()),
          {bytes, kept->nbytes()},
          kept};
}

/// The model's tensors as files have them. Tied ones are the same memory.
NamedTensors model_tensors(const ModelTask& task) {
  const Parameters& parameters = task.parameters_by_name();
  std::map<const void*, StoredTensor> done;
  NamedTensors tensors;
  for (const Parameters::Entry& entry : parameters.entries()) {
    if (Parameters::is_lora(entry.name)) continue;
    const void* memory = entry.tensor.data_ptr();
    if (!done.contains(memory)) done[memory] = stored(parameters.merged(entry));
    tensors.emplace_back(entry.name, done[memory]);
  }
  return tensors;
}

void write_json(const fs::path& file, const Json& json) {
  write_file(file, [&](std::ostream& out) { out << dump(json, 2) << '\n'; });
}

Json med_config(const TaskOptions& options) {
  const TextConfig& text = options.config.text;
  return {{"architectures", {"BertModel"}},
          {"model_type", "bert"},
          {"hidden_act", "gelu"},
          {"add_cross_attention", true},
          {"attention_probs_dropout_prob", options.dropout},
          {"hidden_dropout_prob", options.dropout},
          {"initializer_range", 0.02},
          {"type_vocab_size", 2},
          {"vocab_size", text.vocab_size},
          {"hidden_size", text.hidden_size},
          {"encoder_width", text.encoder_hidden_size},
          {"intermediate_size", text.intermediate_size},
          {"num_hidden_layers", text.num_hidden_layers},
          {"num_attention_heads", text.num_attention_heads},
          {"max_position_embeddings", text.max_position_embeddings},
          {"layer_norm_eps", text.layer_norm_eps},
          {"pad_token_id", text.pad_token_id}};
}

}  // namespace

void save_hugging_face(const ModelTask& task, const fs::path& folder) {
  // transformers has a class for each half of what was pre-trained, so both halves are whole.
  const bool halves = task.options().config.architecture == Architecture::pretrain;
  NamedTensors tensors;
  for (const auto& [name, tensor] : model_tensors(task)) {
    if (halves || !task.parameters_by_name().find(name)->tied) tensors.emplace_back(name, tensor);
  }
  Json config = task.options().config.to_json();
  config["blip_family"] = "authors";  // whose [ENC] and loss the training has
  write_json(folder / "config.json", config);
  write_safetensors(folder / "model.safetensors", tensors, {{"format", "pt"}});
}

void save_authors(const ModelTask& task, const fs::path& folder) {
  NamedTensors tensors;
  for (const auto& [name, tensor] : model_tensors(task)) {
    tensors.emplace_back(authors_name(name), tensor);
    // Their output layer has its own names for what it shares.
    if (name == "text_decoder.bert.embeddings.word_embeddings.weight") {
      tensors.emplace_back("text_decoder.cls.predictions.decoder.weight", tensor);
    } else if (name == "text_decoder.cls.predictions.bias") {
      tensors.emplace_back("text_decoder.cls.predictions.decoder.bias", tensor);
    }
  }
  for (const auto& [name, tensor] : task.training_state()) {
    tensors.emplace_back(name, stored(tensor));
  }
  write_json(folder / "med_config.json", med_config(task.options()));
  write_torch_pickle(folder / "model.pth", tensors);
}

}  // namespace blip::train
