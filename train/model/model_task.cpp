#include "train/model/model_task.h"

#include "blip/base/error.h"
#include "train/model/save.h"

namespace blip::train {
namespace {

struct Range {
  const char* name;
  double value, min, max;
};

TaskOptions checked(Architecture architecture, TaskOptions options) {
  options.config.architecture = architecture;
  options.config.text.encoder_hidden_size = options.config.vision.hidden_size;
  validate(options.config, "the model's configuration");
  const auto queue = static_cast<double>(options.queue_size);
  const Range ranges[] = {
      {"alpha", options.alpha, 0, 1},
      {"alpha_ramp_epochs", options.alpha_ramp_epochs, 0, 1e6},
      {"momentum", options.momentum, 0, 1},
      {"queue_size", queue, 1, 1 << 24},
      {"temperature", options.temperature, 0.001, 0.5},
      {"label_smoothing", options.label_smoothing, 0, 1},
      {"dropout", options.dropout, 0, 0.99},
      {"drop_path", options.drop_path, 0, 0.99},
      {"vision_checkpoint_layers", double(options.vision_checkpoint_layers), 0,
       double(options.config.vision.num_hidden_layers)},
      {"text_checkpoint_layers", double(options.text_checkpoint_layers), 0,
       double(options.config.text.num_hidden_layers)},
      {"lora.rank", double(options.lora.rank), 0, double(options.config.text.hidden_size)},
  };
  for (const Range& range : ranges) {
    if (range.value >= range.min && range.value <= range.max) continue;
    throw Error(ErrorCode::usage, in_quotes(range.name) + " is " + std::to_string(range.value) +
                                      "; expected " + std::to_string(range.min) + " to " +
                                      std::to_string(range.max));
  }
  return options;
}

}  // namespace

ModelTask::ModelTask(Architecture architecture, TaskOptions options)
    : options_(checked(architecture, std::move(options))),
      parameters_(*this, options_.lora),
      vision_(options_, parameters_) {}

std::vector<torch::Tensor> ModelTask::state() {
  std::vector<torch::Tensor> tensors = parameters_.tensors();
  for (const auto& [name, tensor] : training_state()) tensors.push_back(tensor);
  return tensors;
}

void ModelTask::save_pretrained(const std::filesystem::path& folder, Layout layout) const {
  if (layout == Layout::hugging_face) {
    save_hugging_face(*this, folder);
  } else {
    save_authors(*this, folder);
  }
}

torch::Tensor with_first(const torch::Tensor& ids, std::int64_t first) {
  torch::Tensor copy = ids.clone();
  copy.select(1, 0).fill_(first);
  return copy;
}

void require(const torch::Tensor& tensor, const char* field, const char* task) {
  if (tensor.defined()) return;
  throw Error(ErrorCode::internal,
              std::string("a batch without ") + field + " came to the task " + task);
}

}  // namespace blip::train
