#include "apps/cli/commands.h"
#include "apps/cli/eval_run.h"

namespace blip::cli {

void add_eval_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand(
      "eval", "Compare results with what people said: scores a file of results, or makes it first");
  command->require_subcommand(1);
  command->footer(
      "Words are counted as pycocoevalcap counts them (Stanford's PTBTokenizer). METEOR and SPICE "
      "are "
      "not computed:\nthey need tables and parsers of their own; give OUTPUT to the official tools "
      "for "
      "them. See docs/metrics.md.");
  add_eval_caption(*command, status);
  add_eval_retrieval(*command, status);
  add_eval_vqa(*command, status);
  add_eval_nlvr(*command, status);
}

}  // namespace blip::cli
