#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "blip/generation/generation_config.h"
#include "blip/image/decode.h"
#include "blip/tasks/engine.h"

namespace blip::cli {

/// --model, --image-size, --vision-heads, --num-threads
struct ModelFlags {
  std::string model;
  EngineOptions options;
  int num_threads = 0;

  void add_to(CLI::App& command);
  /// The folder or file that --model names, or the model that comes with the program.
  /// Throws Error{not_found}.
  std::filesystem::path path() const;
};

/// --exif-orientation, --alpha, --max-pixels
struct ImageFlags {
  ImageOptions options;

  void add_to(CLI::App& command);
};

/// One flag for each field of GenerationConfig, named as transformers names it, with dashes.
class GenerationFlags {
 public:
  void add_to(CLI::App& command);
  /// Overwrites the fields of `config` whose flag was given.
  void apply_to(GenerationConfig& config) const;
  /// Throws Error{usage} when a flag was given that does nothing without --do-sample.
  void check(const GenerationConfig& config) const;

 private:
  GenerationConfig given_;
  std::vector<CLI::Option*> options_;  ///< in the order of for_each_field
};

enum class Format { text, json, jsonl };
void add_format_flag(CLI::App& command, Format& format);

}  // namespace blip::cli
