#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/flags.h"
#include "apps/cli/picture_rows.h"
#include "apps/cli/stop.h"
#include "apps/cli/text_flags.h"
#include "blip/tasks/classification.h"

namespace blip::cli {
namespace {

const std::map<std::string, FirstToken> kItmTokens = {{"cls", FirstToken::cls},
                                                      {"enc", FirstToken::enc}};

struct ClassifyFlags {
  PictureFlags pictures;
  TextFlags labels;
  std::vector<std::string> templates;
  ClassificationOptions options;
  std::size_t top = 5;
  Format format = Format::text;
};

/// Text: probability and label, the likeliest first.
void fill(Row& row, std::span<const LabelScore> scores, std::span<const std::string> labels) {
  Json all = Json::array();
  for (const LabelScore& one : scores) {
    const std::string& label = labels[one.label];
    all.push_back({{"label", label}, {"probability", one.probability}, {"score", one.score}});
    char number[32];
    std::snprintf(number, sizeof number, "%.4f\t", one.probability);
    row.lines.push_back(number + label);
  }
  row.findings["labels"] = std::move(all);
}

int run(const ClassifyFlags& flags) {
  install_stop_handler();
  const std::vector<std::string> labels = flags.labels.read();
  const std::vector<PictureInput> inputs = flags.pictures.inputs();
  const ModelFlags& model = flags.pictures.model;
  const Context context = flags.pictures.context();
  ClassificationOptions options = flags.options;
  if (!flags.templates.empty()) options.templates = flags.templates;
  const Classifier classifier(model.load(), labels, options, context);
  return write_rows(
      flags.pictures, inputs, classifier.engine(), flags.format,
      [&](std::span<PictureRow* const> rows) {
        for (PictureRow* row : rows) {
          const std::vector<LabelScore> scores = classifier.classify(row->image, context);
          fill(*row, std::span(scores).first(std::min(flags.top, scores.size())), labels);
        }
      });
}

}  // namespace

void add_classify_command(CLI::App& app, int& status) {
  CLI::App* command =
      app.add_subcommand("classify", "Tell which of a list of labels fits each picture");
  const auto flags = std::make_shared<ClassifyFlags>();
  ClassificationOptions& options = flags->options;
  flags->pictures.add_to(*command);
  flags->labels.add_to(*command, "label", "labels", "a label to choose from");
  command
      ->add_option("--template", flags->templates,
                   "text that labels are put into at {}, such as \"a drawing of a {}\"; of several "
                   "the mean is taken (default: \"a photo of a {}\")")
      ->allow_extra_args(false);
  command->add_option("--top", flags->top, "labels shown, the likeliest first")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  CLI::Option* itm = command->add_flag("--itm", options.itm,
                                       "by ITM, which is exact and compares the picture with "
                                       "each label anew, instead of by ITC");
  command
      ->add_option(
          "--temperature", options.temperature,
          "what similarities are divided by before the softmax (default: the checkpoint's, "
          "else 0.07)")
      ->check(CLI::Range(1e-4, 1e4))
      ->excludes(itm);
  command
      ->add_option(
          "--itm-token", options.itm_token,
          "what stands before a text for ITM: enc as in the authors' evaluation (default), "
          "or cls as transformers has it")
      ->transform(CLI::CheckedTransformer(kItmTokens).description("{enc,cls}"))
      ->needs(itm);
  command
      ->add_option("--max-text-length", options.max_length,
                   "tokens that longer texts are cut to; 0: as many as the model can read")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  add_format_flag(*command, flags->format);
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
