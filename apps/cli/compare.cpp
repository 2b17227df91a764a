#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/comparison_report.h"
#include "apps/cli/flags.h"
#include "apps/cli/inputs.h"
#include "apps/cli/progress.h"
#include "apps/cli/stop.h"
#include "blip/base/error.h"

namespace blip::cli {

Json to_json(const ComparisonSummary& s) {
  return {{"pictures", s.pictures},
          {"cosine", s.cosine},
          {"least_cosine", s.least_cosine},
          {"divergence", s.divergence},
          {"largest_divergence", s.largest_divergence},
          {"identical_captions", s.identical},
          {"passes", s.passes()}};
}

void print_summary(const ComparisonSummary& s) {
  std::printf("pictures                    %zu\n", s.pictures);
  std::printf("cosine of image_embeds      %.6f (least of a token %.6f)\n", s.cosine,
              s.least_cosine);
  std::printf("divergence of next tokens   %.6f nats (largest %.6f)\n", s.divergence,
              s.largest_divergence);
  std::printf("identical captions          %.1f %%\n", 100 * s.identical);
  std::printf("accuracy gate               %s\n", s.passes() ? "passed" : "NOT passed");
}

namespace {

struct CompareFlags {
  std::vector<std::string> paths;
  bool recursive = false;
  ModelFlags model;
  std::string against_model;
  Precision against = Precision::f32;
  ImageFlags image;
  GenerationFlags generation;
  std::string prompt;
  Format format = Format::text;
};

Json row_of(const std::string& path, const PictureComparison& one) {
  return {{"path", path},
          {"cosine", one.cosine},
          {"least_cosine", one.least_cosine},
          {"divergence", one.divergence},
          {"largest_divergence", one.largest_divergence},
          {"wanted", one.wanted},
          {"text", one.text}};
}

/// Exit status 0 when the gate is passed, else 1.
int run(const CompareFlags& flags) {
  install_stop_handler();
  const Context context{flags.model.num_threads, &stop_requested()};
  const std::vector<PictureInput> inputs = expand_inputs(flags.paths, flags.recursive);
  EngineOptions against = flags.model.options;
  against.precision = flags.against;
  const std::filesystem::path model = flags.model.path();
  const Engine reference = Engine::load(
      flags.against_model.empty() ? model : std::filesystem::path(flags.against_model), against);
  CaptionOptions options;
  options.generation = reference.default_generation();
  flags.generation.apply_to(options.generation);
  const EngineComparison comparison(reference, Engine::load(model, flags.model.options),
                                    flags.prompt, options);

  std::vector<PictureComparison> results;
  Json rows = Json::array();
  Progress progress(inputs.size());
  bool failed = false;
  for (const PictureInput& input : inputs) {
    try {
      results.push_back(comparison.compare(load_input(input, flags.image.options), context));
      rows.push_back(row_of(input.name, results.back()));
    } catch (const Error& e) {
      if (e.code() == ErrorCode::cancelled) throw;
      progress.clear();
      std::fprintf(stderr, "blip: %s\n", e.what());
      failed = true;
    }
    progress.update(results.size());
  }
  progress.clear();
  const ComparisonSummary summary = summarise(results);
  if (flags.format == Format::text) {
    for (const PictureComparison& one : results) {
      if (one.text != one.wanted)
        std::printf("differs: %s | %s\n", one.wanted.c_str(), one.text.c_str());
    }
    print_summary(summary);
  } else if (flags.format == Format::json) {
    const Json document = {{"pictures", rows}, {"summary", to_json(summary)}};
    std::printf("%s\n", dump(document, 2).c_str());
  } else {
    for (const Json& row : rows) std::printf("%s\n", dump(row).c_str());
    std::printf("%s\n", Json{{"summary", to_json(summary)}}.dump().c_str());
  }
  return summary.passes() && !failed ? 0 : 1;
}

}  // namespace

void add_compare_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand(
      "compare", "Tell how far a model's results in one precision are from those in another");
  const auto flags = std::make_shared<CompareFlags>();
  command->add_option("PATH", flags->paths, "picture files, or folders of them")->required();
  command->add_flag("-r,--recursive", flags->recursive, "read folders below the named ones too");
  flags->model.add_to(*command);
  command->add_option("--against-model", flags->against_model,
                      "checkpoint to compare with (default: the same)");
  add_precision_option(*command, flags->against, "--against");
  command->add_option("--prompt", flags->prompt, "how the captions begin");
  add_format_flag(*command, flags->format);
  flags->image.add_to(*command);
  flags->generation.add_to(*command);
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
