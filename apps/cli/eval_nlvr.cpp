#include <memory>
#include <unordered_map>
#include <utility>

#include "apps/cli/eval_run.h"
#include "apps/cli/stop.h"
#include "blip/base/error.h"
#include "blip/dataset/nlvr_dataset.h"
#include "blip/dataset/results.h"
#include "blip/dataset/text_cleaning.h"
#include "blip/metrics/nlvr_accuracy.h"
#include "blip/tasks/nlvr.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip::cli {
namespace {

constexpr std::size_t kMaxWords = 40;  // the authors'

struct NlvrEvalFlags {
  EvalFlags common;
  bool both_orders = false;
};

using LabelOf = std::unordered_map<std::string, bool>;

EvalReport score(const std::vector<NlvrExample>& examples, const LabelOf& labels) {
  NlvrAccuracy accuracy;
  std::size_t known = 0;
  for (const NlvrExample& example : examples) {
    const auto found = labels.find(example.identifier);
    if (found == labels.end()) continue;
    ++known;
    if (example.label) accuracy.add(example.group, found->second == *example.label);
  }
  if (known < labels.size()) {
    throw Error(ErrorCode::usage, std::to_string(labels.size() - known) + " of " +
                                      std::to_string(labels.size()) +
                                      " results are for examples that are not in the annotations");
  }
  EvalReport report{"nlvr", {}, examples.size() - known};
  if (accuracy.examples() == 0) return report;
  report.metrics.push_back({"accuracy", "accuracy", accuracy.accuracy(), accuracy.examples()});
  report.metrics.push_back(
      {"consistency", "consistency", accuracy.consistency(), accuracy.sentences()});
  return report;
}

/// Runs the model; returns its verdicts and whether all examples have one.
std::pair<LabelOf, bool> run_model(const NlvrEvalFlags& flags,
                                   const std::vector<NlvrExample>& examples) {
  install_stop_handler();
  const VisualReasoner reasoner(flags.common.model.load());
  const std::vector<std::filesystem::path> inputs = {flags.common.annotations};
  EvalRun run(flags.common, reasoner.engine(), "nlvr", {{"both_orders", flags.both_orders}},
              inputs);
  NlvrOptions options;
  options.both_orders = flags.both_orders;

  const std::vector<std::size_t> items =
      run.open_items(examples.size(), [&](std::size_t i) { return Json(examples[i].identifier); });
  std::vector<Json> rows;
  run.run(
      items, flags.common.batch_size,
      [&](std::size_t i) {
        const std::string text = clean_caption(examples[i].sentence, kMaxWords);
        if (reasoner.engine().tokenizer().encode_plain(text).empty()) {
          throw Error(ErrorCode::usage,
                      "the statement of " + in_quotes(examples[i].identifier) + " has no words");
        }
        const EncodedImage left = run.pictures().encode(examples[i].images[0], run.context());
        const EncodedImage right = run.pictures().encode(examples[i].images[1], run.context());
        const Verdict verdict =
            reasoner.judge(left, right, {&text, 1}, options, run.context()).front();
        rows.push_back({{"id", examples[i].identifier},
                        {"value", verdict.probability >= 0.5},
                        {"probability", verdict.probability}});
      },
      [&] { return std::exchange(rows, {}); });

  auto labels = run.values<std::string, bool>();
  std::vector<NlvrResult> results;
  for (const NlvrExample& example : examples) {
    if (const auto found = labels.find(example.identifier); found != labels.end())
      results.push_back({example.identifier, found->second});
  }
  write_results(flags.common.output, results);
  if (run.failed() == 0) run.journal().remove();
  return {std::move(labels), run.failed() == 0};
}

int run(const NlvrEvalFlags& flags) {
  const bool runs_model = flags.common.runs_model();
  const std::vector<NlvrExample> examples = read_nlvr(flags.common.annotations);
  LabelOf labels;
  bool complete = true;
  if (runs_model) {
    std::tie(labels, complete) = run_model(flags, examples);
  } else {
    for (const NlvrResult& result : read_nlvr_results(flags.common.results))
      labels.emplace(result.identifier, result.label);
  }
  const EvalReport report = score(examples, labels);
  if (report.metrics.empty() && !runs_model)
    throw Error(ErrorCode::usage, "there are no labels to score");
  publish(report, flags.common);
  return complete ? 0 : 1;
}

}  // namespace

void add_eval_nlvr(CLI::App& eval, int& status) {
  CLI::App* command = eval.add_subcommand(
      "nlvr", "Statements about two pictures: NLVR2's accuracy and consistency");
  const auto flags = std::make_shared<NlvrEvalFlags>();
  flags->common.add_to(*command, "NLVR2's lines of identifier,True or identifier,False");
  flags->common.model.task = "nlvr";
  command->add_flag("--both-orders", flags->both_orders,
                    "judge with the pictures exchanged too, and average");
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
