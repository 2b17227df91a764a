#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/flags.h"
#include "apps/cli/inputs.h"
#include "apps/cli/rows.h"
#include "apps/cli/stop.h"
#include "apps/cli/text_flags.h"
#include "blip/tasks/nlvr.h"

namespace blip::cli {
namespace {

struct NlvrFlags {
  std::string left, right;
  TextFlags texts;
  NlvrOptions options;
  ModelFlags model;
  ImageFlags image;
  Format format = Format::text;
};

/// Text: the statement where there are several, true or false, the probability that it is true.
void fill(Row& row, std::span<const std::string> statements, std::span<const Verdict> verdicts) {
  Json all = Json::array();
  for (std::size_t i = 0; i < statements.size(); ++i) {
    const Verdict& verdict = verdicts[i];
    const bool holds = verdict.probability >= 0.5;
    all.push_back({{"text", statements[i]},
                   {"truncated", verdict.truncated},
                   {"answer", holds},
                   {"probability", verdict.probability},
                   {"logits", verdict.logits}});
    char line[32];
    std::snprintf(line, sizeof line, "%s\t%.4f", holds ? "true" : "false", verdict.probability);
    row.lines.push_back(statements.size() > 1 ? statements[i] + "\t" + line : line);
  }
  row.findings["statements"] = std::move(all);
}

int run(const NlvrFlags& flags) {
  install_stop_handler();
  const std::vector<std::string> statements = flags.texts.read();
  const std::vector<PictureInput> inputs = expand_inputs({flags.left, flags.right}, false);
  if (inputs.size() != 2) {
    throw Error(ErrorCode::usage,
                "nlvr takes two pictures, but " + std::to_string(inputs.size()) + " were found");
  }
  const VisualReasoner reasoner(flags.model.load());
  const Context context{flags.model.options.num_threads, &stop_requested()};
  Row row;
  row.subject["paths"] = {inputs[0].name, inputs[1].name};
  try {
    const Image pictures[] = {load_input(inputs[0], flags.image.options),
                              load_input(inputs[1], flags.image.options)};
    const std::vector<EncodedImage> encoded = reasoner.engine().encode(pictures, context);
    fill(row, statements,
         reasoner.judge(encoded[0], encoded[1], statements, flags.options, context));
  } catch (const Error& e) {
    if (e.code() == ErrorCode::cancelled || e.code() == ErrorCode::usage) throw;
    row.error = std::make_unique<Error>(e);
  }
  RowWriter writer(flags.format, false);
  writer.write(row);
  writer.finish();
  return writer.status();
}

}  // namespace

void add_nlvr_command(CLI::App& app, int& status) {
  CLI::App* command =
      app.add_subcommand("nlvr", "Tell whether statements about two pictures are true (NLVR2)");
  const auto flags = std::make_shared<NlvrFlags>();
  command->add_option("LEFT", flags->left, "the left picture, or - for standard input")->required();
  command->add_option("RIGHT", flags->right, "the right picture")->required();
  flags->texts.add_to(*command, "text", "texts", "a statement about the two pictures");
  command->add_flag("--both-orders", flags->options.both_orders,
                    "also ask with the pictures (and the words left and right) exchanged, and "
                    "average");
  command
      ->add_option("--max-text-length", flags->options.max_length,
                   "tokens that longer statements are cut to; 0: as many as the model can read")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  add_format_flag(*command, flags->format);
  flags->model.add_to(*command);
  flags->model.task = "nlvr";
  flags->image.add_to(*command);
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
