#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "blip/generation/generation_config.h"
#include "blip/image/decode.h"
#include "blip/tasks/engine.h"

namespace blip::cli {

/// Engine::load(), which says on standard error when the checkpoint is one that did not pass its
/// accuracy gate.
Engine load_engine(const std::filesystem::path& model, const EngineOptions& options);

/// --model, --image-size, --vision-heads, --precision, --num-threads
struct ModelFlags {
  std::string model;
  /// Which of the models that come with the program: "vqa", "nlvr", or all else.
  std::string_view task;
  EngineOptions options;

  void add_to(CLI::App& command);
  /// The folder or file that --model names, or the model that comes with the program.
  /// Throws Error{not_found}.
  std::filesystem::path path() const;
  /// Throws as path() and Engine::load() do.
  Engine load() const;
  /// Of another model that is run beside it: what is not of the one checkpoint alone.
  EngineOptions second_options() const;
};

/// Where a model that comes with the program lies; see ModelFlags::task.
std::filesystem::path shipped_model(std::string_view task);

/// --exif-orientation, --alpha, --max-pixels
struct ImageFlags {
  ImageOptions options;

  void add_to(CLI::App& command);
};

/// One flag for each field of GenerationConfig, named as transformers names it, with dashes.
class GenerationFlags {
 public:
  void add_to(CLI::App& command);
  /// Overwrites the fields of `config` whose flag was given. A limit given in one form (all tokens,
  /// or new tokens) replaces the checkpoint's in the other form.
  /// Throws Error{usage} for both forms, and for a flag that does nothing with the others.
  void apply_to(GenerationConfig& config) const;
  /// Whether the flag of a field, such as "num_beams", was given.
  bool given(std::string_view field) const;

 private:
  void check(const GenerationConfig& config) const;

  GenerationConfig given_;
  std::vector<CLI::Option*> options_;  ///< in the order of for_each_field
};

/// --precision {auto,f32,bf16,int8} of checkpoints that are opened; `what` says of whose layers.
void add_precision_option(CLI::App& command, EngineOptions& options, const std::string& what);

/// --precision {f32,bf16,int8}, or another name for it, with the default that `precision` has.
void add_precision_option(CLI::App& command, Precision& precision,
                          const std::string& flag = "--precision");

enum class Format { text, json, jsonl };
void add_format_flag(CLI::App& command, Format& format);

}  // namespace blip::cli
