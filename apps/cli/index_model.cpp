#include "apps/cli/index_model.h"

#include "blip/base/error.h"
#include "blip/tasks/retrieval.h"

namespace blip::cli {

void add_model_flags_for_index(CLI::App& command, ModelFlags& flags) {
  flags.add_to(command);
  // BLIP_MODEL is for commands that no index tells which model to take.
  command.get_option("--model")->envname("")->description(
      "checkpoint that the index was made with (default: where it was then)");
  command.get_option("--image-size")
      ->description("side in pixels that pictures are squashed to (default: the index's)");
}

Engine load_engine_for(const IndexManifest& manifest, const ModelFlags& flags) {
  ModelSource source = model_source_of(manifest);
  if (!flags.model.empty()) source.path = flags.model;
  if (source.path.empty()) source.path = flags.path();
  if (flags.options.image_size > 0) source.options.image_size = flags.options.image_size;
  if (flags.options.vision_heads > 0) source.options.vision_heads = flags.options.vision_heads;
  if (!flags.options.tokenizer.empty()) source.options.tokenizer = flags.options.tokenizer;
  source.options.precision = flags.options.precision;
  source.options.num_threads = flags.options.num_threads;
  std::error_code ignored;
  if (!std::filesystem::exists(source.path, ignored)) {
    throw Error(ErrorCode::not_found, "the model is not at " + source.path.string() +
                                          "; name the one that the index was made with by --model");
  }
  return load_engine(source.path, source.options);
}

}  // namespace blip::cli
