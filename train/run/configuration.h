#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "train/data/augmentation.h"
#include "train/data/data_options.h"

namespace blip::train {

using Texts = std::vector<std::string>;

/// Where the model comes from and how large it is ("model.").
struct ModelConfiguration {
  std::string init;
  std::string vit, bert;
  std::string tokenizer;
  std::int64_t image_size = 0;
  std::int64_t patch_size = 16;
  std::int64_t vision_width = 768, vision_layers = 12, vision_heads = 12;
  std::int64_t text_width = 768, text_layers = 12, text_heads = 12, text_positions = 512;
  std::int64_t projection = 256;
  double dropout = 0.1, drop_path = 0;
  std::int64_t vision_checkpoint_layers = 0, text_checkpoint_layers = 0;
  Texts frozen;
  std::int64_t lora_rank = 0;
  double lora_alpha = 16;
  Texts lora_targets = {"qkv", "self.query", "self.value"};
};

/// What is minimised ("loss.").
struct LossConfiguration {
  double alpha = 0.4, alpha_ramp_epochs = 2;
  double momentum = 0.995, temperature = 0.07;
  std::int64_t queue_size = 57600;
  bool negatives_across_ranks = true;
  double label_smoothing = 0.1;
};

/// How it is minimised ("optim.").
struct OptimConfiguration {
  std::int64_t batch_size = 32, accumulation = 1;
  std::int64_t epochs = 5, max_steps = 0;
  double lr = 1e-5, min_lr = 0;
  std::string schedule = "cosine";
  std::string per = "epoch";
  double decay_rate = 0.9;
  std::int64_t warmup_steps = 0;
  double warmup_lr = 1e-6;
  double weight_decay = 0.05, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double clip = 0;
};

/// What is kept and told ("save.", "log.", "distributed.").
struct RunConfiguration {
  std::int64_t save_every_steps = 1000, save_keep = 2;
  Texts layouts = {"hugging_face"};
  std::int64_t log_every = 10;
  bool tensorboard = true;
  std::int64_t report_samples = 8;
  std::string backend = "auto";
  std::int64_t timeout_seconds = 600;
};

/// Everything that a run can be told. Each field is described once, in fields().
struct Configuration {
  std::string output;
  std::int64_t seed = 42;
  std::string device = "cpu";
  std::string precision = "f32";
  std::int64_t threads = 0;
  ModelConfiguration model;
  LossConfiguration loss;
  DataOptions data;
  AugmentationOptions augment;
  OptimConfiguration optim;
  RunConfiguration run;
};

/// One key: its name, where its value lies, what it means.
struct Field {
  std::string_view name;  ///< "optim.lr"
  std::variant<bool*, int*, std::int64_t*, double*, std::string*, Texts*, std::vector<double>*>
      value;
  std::string_view help;
};

/// All keys of `configuration`, in the order in which they are shown.
std::vector<Field> fields(Configuration& configuration);

/// The value as YAML writes it: `0.05`, `"a picture of "`, `[1, 2]`.
std::string to_text(const Field& field);

/// Reads a YAML file (its `extends: FILE` first, which is relative to it), then lays `overrides`
/// ("key=value", values as in YAML) over it, then checks the whole.
/// Throws Error{usage} for an unknown key (with the nearest right one), a value of another type or
/// out of range, with the line; Error{not_found, io}.
Configuration read_configuration(const std::filesystem::path& file,
                                 std::span<const std::string> overrides);

/// As YAML, with the keys' meanings as comments; read_configuration() gives the same back.
std::string to_yaml(const Configuration& configuration);

/// As a table for people, one line a key with its default: plain, or in Markdown.
std::string describe_fields(bool markdown);

}  // namespace blip::train
