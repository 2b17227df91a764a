#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/flags.h"
#include "apps/cli/inputs.h"
#include "blip/base/error.h"
#include "blip/checkpoint/safetensors.h"
#include "blip/image/image_processor.h"

namespace blip::cli {
namespace {

struct PreprocessFlags {
  std::vector<std::string> paths;
  bool recursive = false;
  std::string output;
  ModelFlags model;
  ImageFlags image;
};

void run(const PreprocessFlags& flags) {
  const std::vector<PictureInput> inputs = expand_inputs(flags.paths, flags.recursive);
  const Engine engine = flags.model.load();
  const ThreadScope threads({flags.model.options.num_threads});
  const ImageProcessor& processor = engine.image_processor();
  const ImageProcessorConfig& size = processor.config();
  Tensor pixel_values({static_cast<std::int64_t>(inputs.size()), 3, size.height, size.width});
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    processor.process(load_input(inputs[i], flags.image.options), pixel_values[i].data());
  }

  StoredTensor stored;
  stored.shape = pixel_values.shape();
  stored.bytes = std::as_bytes(pixel_values.span());
  Json names = Json::array();
  for (const PictureInput& input : inputs) names.push_back(input.name);
  write_safetensors(flags.output, {{"pixel_values", stored}}, {{"paths", dump(names)}});
}

}  // namespace

void add_preprocess_command(CLI::App& app, int&) {
  CLI::App* command = app.add_subcommand(
      "preprocess", "Write pictures as the model sees them (pixel_values) to a safetensors file");
  const auto flags = std::make_shared<PreprocessFlags>();
  command
      ->add_option("PATH", flags->paths, "picture files, folders of them, or - for standard input")
      ->required();
  command
      ->add_option("-o,--output", flags->output,
                   "file to write: pixel_values [pictures, 3, height, width]")
      ->required();
  command->add_flag("-r,--recursive", flags->recursive, "read folders below the named ones too");
  flags->model.add_to(*command);
  flags->image.add_to(*command);
  command->callback([flags] { run(*flags); });
}

}  // namespace blip::cli
