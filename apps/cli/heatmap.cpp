#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/flags.h"
#include "apps/cli/inputs.h"
#include "apps/cli/rows.h"
#include "apps/cli/stop.h"
#include "apps/findings/findings.h"
#include "blip/base/error.h"
#include "blip/checkpoint/checkpoint.h"
#include "blip/image/encode.h"
#include "blip/tasks/captioning.h"
#include "blip/tasks/localization.h"

namespace blip::cli {
namespace {

enum class Weighting { automatic, attention, gradient };
const std::map<std::string, Weighting> kWeightings = {{"auto", Weighting::automatic},
                                                      {"attention", Weighting::attention},
                                                      {"gradient", Weighting::gradient}};

struct HeatmapFlags {
  std::string image_path;
  std::string text;
  std::string word;
  std::string output;
  Weighting weighting = Weighting::automatic;
  LocalizationOptions options;
  ModelFlags model;
  ImageFlags image;
  Format format = Format::text;
};

/// What to look for: --text, or what the captioner says.
std::string text_of(const HeatmapFlags& flags, const Engine& engine, const EncodedImage& encoded,
                    const Context& context) {
  if (!flags.text.empty()) return flags.text;
  if (!engine.checkpoint().config.writes_captions())
    throw Error(ErrorCode::usage, "--text is required: this checkpoint writes none itself");
  CaptionOptions options;
  options.generation = engine.default_generation();
  const CaptionRequest request{encoded, ""};
  return Captioner(engine).caption({&request, 1}, options, context).front().front().text;
}

/// Text: the text, then the hottest patch as shares of the picture's width and height.
void fill(Row& row, const HeatmapFlags& flags, const std::string& text, const HeatMap& map) {
  row.findings = findings::to_json(text, flags.word, map);
  const auto hottest =
      static_cast<int>(std::max_element(map.values.begin(), map.values.end()) - map.values.begin());
  char place[64];
  std::snprintf(place, sizeof place, "\t%.3f\t%.3f", (hottest % map.columns + 0.5) / map.columns,
                (hottest / map.columns + 0.5) / map.rows);
  row.lines.push_back((flags.word.empty() ? text : flags.word) + place);
}

int run(const HeatmapFlags& flags) {
  install_stop_handler();
  const std::vector<PictureInput> inputs = expand_inputs({flags.image_path}, false);
  if (inputs.size() != 1) throw Error(ErrorCode::usage, "heatmap takes one picture");
  const Localizer localizer(flags.model.load());
  const Engine& engine = localizer.engine();
  const Context context{flags.model.options.num_threads, &stop_requested()};
  const Image picture = load_input(inputs[0], flags.image.options);
  const EncodedImage encoded = engine.encode({&picture, 1}, context).front();
  const std::string text = text_of(flags, engine, encoded, context);
  std::vector<std::string> words;
  if (!flags.word.empty()) words.push_back(flags.word);
  LocalizationOptions options = flags.options;
  if (flags.weighting != Weighting::automatic)
    options.gradient = flags.weighting == Weighting::gradient;
  const HeatMap map = localizer.locate(encoded, text, words, options, context).front();
  if (!flags.output.empty()) save_png(overlay(picture, map), flags.output);
  Row row;
  row.subject["path"] = inputs[0].name;
  fill(row, flags, text, map);
  RowWriter writer(flags.format, false);
  writer.write(row);
  writer.finish();
  return 0;
}

}  // namespace

void add_heatmap_command(CLI::App& app, int& status) {
  CLI::App* command =
      app.add_subcommand("heatmap", "Show where in a picture a text, or a word of it, looks");
  const auto flags = std::make_shared<HeatmapFlags>();
  command->add_option("IMAGE", flags->image_path, "picture file, or - for standard input")
      ->required();
  command->add_option("--text", flags->text,
                      "what to look for (default: the caption, where the model writes one)");
  command->add_option("--word", flags->word, "a word of the text, or several (default: all)");
  command->add_option("-o,--output", flags->output,
                      "PNG file to write: the picture with the map laid over it");
  command
      ->add_option("--weighting", flags->weighting,
                   "attention: where the words look; gradient: what speaks for a match (GradCAM; "
                   "needs a model that matches); auto: gradient where it can be had (default)")
      ->transform(CLI::CheckedTransformer(kWeightings).description("{auto,attention,gradient}"));
  command
      ->add_option("--layer", flags->options.layers,
                   "layer to take cross-attention from, counted from 0; given several times, their "
                   "mean (default: 7 of 12 for gradient, else the last)")
      ->allow_extra_args(false);
  command
      ->add_option("--max-text-length", flags->options.max_length,
                   "tokens that a longer text is cut to; 0: as many as the model can read")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  add_format_flag(*command, flags->format);
  flags->model.add_to(*command);
  flags->image.add_to(*command);
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
