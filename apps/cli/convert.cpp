#include <algorithm>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/comparison_report.h"
#include "apps/cli/flags.h"
#include "apps/cli/inputs.h"
#include "apps/cli/progress.h"
#include "apps/cli/stop.h"
#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/image/image_processor.h"
#include "blip/model/conversion.h"
#include "blip/model/smoothing.h"
#include "blip/ops/isa.h"
#include "blip/ops/matmul.h"

namespace blip::cli {
namespace {

struct ConvertFlags {
  std::string model;
  std::string output;
  Precision precision = Precision::bf16;
  int vision_heads = 0;
};

void convert(const ConvertFlags& flags) {
  const Checkpoint checkpoint = open_checkpoint(flags.model, {.vision_heads = flags.vision_heads});
  ConversionOptions options;
  options.precision = flags.precision;
  write_converted(checkpoint, options, flags.output);
}

struct QuantizeFlags {
  std::string model;
  std::string output;
  std::vector<std::string> calibrate;
  bool recursive = false;
  std::size_t most_pictures = 32;
  bool force = false;
  ImageFlags image;
  EngineOptions engine;
};

/// The pictures that could be decoded, evenly taken from those named, at most so many.
std::vector<Image> calibration_pictures(const QuantizeFlags& flags) {
  const std::vector<PictureInput> inputs = expand_inputs(flags.calibrate, flags.recursive);
  const std::size_t count = std::min(inputs.size(), flags.most_pictures);
  std::vector<Image> pictures;
  for (std::size_t i = 0; i < count; ++i) {
    const PictureInput& input = inputs[i * inputs.size() / count];
    try {
      pictures.push_back(load_input(input, flags.image.options));
    } catch (const Error& e) {
      std::fprintf(stderr, "blip: %s (left out)\n", e.what());
    }
  }
  if (pictures.size() < 2) {
    throw Error(ErrorCode::usage,
                "quantising needs at least two pictures: one to calibrate, one to judge by");
  }
  return pictures;
}

Smoothing calibrate(const Engine& engine, std::span<const Image> pictures, Progress& progress,
                    const Context& context) {
  const ImageProcessor& processor = engine.image_processor();
  const int height = processor.config().height, width = processor.config().width;
  SmoothingSearch search(engine.checkpoint());
  std::vector<float> pixel_values(3 * static_cast<std::size_t>(height) *
                                  static_cast<std::size_t>(width));
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    processor.process(pictures[i], pixel_values.data());
    search.observe(pixel_values, height, width, context);
    progress.update(i + 1);
  }
  return search.choose(context);
}

/// The first half of the pictures calibrates; the rest, which took no part, judges the result as it
/// will be used: from its folder.
int quantize(const QuantizeFlags& flags) {
  install_stop_handler();
  const Context context{flags.engine.num_threads, &stop_requested()};
  NewFolder out(flags.output);
  EngineOptions exact = flags.engine;
  exact.precision = Precision::f32;
  const Engine reference = load_engine(flags.model, exact);
  check_original(reference.checkpoint());
  const std::vector<Image> pictures = calibration_pictures(flags);
  const std::span<const Image> first(pictures.data(), pictures.size() / 2);
  Progress progress(pictures.size());

  ConversionOptions options;
  options.precision = Precision::int8;
  options.smoothing = calibrate(reference, first, progress, context);
  write_converted(reference.checkpoint(), options, out.path());

  CaptionOptions captioning;
  captioning.generation = reference.default_generation();
  const EngineComparison comparison(reference, load_engine(out.path(), flags.engine), "",
                                    captioning);
  std::vector<PictureComparison> results;
  for (const Image& picture : std::span(pictures).subspan(first.size())) {
    results.push_back(comparison.compare(picture, {}, context));
    progress.update(first.size() + results.size());
  }
  progress.clear();
  const ComparisonSummary summary = summarise(results);
  print_summary(summary);
  if (!summary.passes() && !flags.force) {
    std::fprintf(stderr, "blip: nothing was written (--force writes it all the same)\n");
    return 1;
  }
  Json report = to_json(summary);
  report["isa"] = name(active_isa());
  report["activation_levels"] = activation_levels();
  write_report(report, out.path());
  out.give_name();
  return 0;
}

}  // namespace

void add_convert_command(CLI::App& app, int&) {
  CLI::App* command = app.add_subcommand(
      "convert",
      "Write a checkpoint in a precision, for blip alone: it starts at once and runs faster");
  const auto flags = std::make_shared<ConvertFlags>();
  command->add_option("MODEL", flags->model, "checkpoint: a Hugging Face folder or a .pth file")
      ->required();
  command->add_option("OUT", flags->output, "folder to write")->required();
  add_precision_option(*command, flags->precision);
  command->add_option("--vision-heads", flags->vision_heads,
                      "attention heads of a .pth's vision encoder (default: its width / 64)");
  command->callback([flags] { convert(*flags); });
}

void add_quantize_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand(
      "quantize", "Write a checkpoint in int8, calibrated and judged on pictures of yours");
  const auto flags = std::make_shared<QuantizeFlags>();
  command->add_option("MODEL", flags->model, "checkpoint: a Hugging Face folder or a .pth file")
      ->required();
  command->add_option("OUT", flags->output, "folder to write")->required();
  command
      ->add_option("--calibrate", flags->calibrate,
                   "picture files or folders of them; the first half calibrates, the second judges")
      ->required();
  command->add_flag("-r,--recursive", flags->recursive, "read folders below the named ones too");
  command->add_option("--max-pictures", flags->most_pictures, "pictures to use, evenly taken")
      ->capture_default_str()
      ->check(CLI::Range(2, 100000));
  command->add_flag("--force", flags->force, "write it even when the accuracy gate is not passed");
  command->add_option("--vision-heads", flags->engine.vision_heads,
                      "attention heads of a .pth's vision encoder (default: its width / 64)");
  command->add_option("--num-threads", flags->engine.num_threads, "threads (default: one per core)")
      ->check(CLI::Range(1, 1024));
  flags->image.add_to(*command);
  command->callback([flags, &status] { status = quantize(*flags); });
}

}  // namespace blip::cli
