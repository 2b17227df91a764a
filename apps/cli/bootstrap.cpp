#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "apps/cli/bootstrap_plan.h"
#include "apps/cli/bootstrap_report.h"
#include "apps/cli/bootstrap_stage.h"
#include "apps/cli/child.h"
#include "apps/cli/commands.h"
#include "apps/cli/stop.h"
#include "blip/base/error.h"
#include "blip/base/file.h"

namespace blip::cli {
namespace {

struct BootstrapFlags {
  BootstrapOptions options;
  std::vector<std::string> redo;
  bool plan = false;
};

void add_data(CLI::App& command, BootstrapOptions& options) {
  const auto add = [&](const char* name, std::vector<std::string>& sources, const char* help) {
    // One a flag, so that settings may follow.
    command.add_option(name, sources, help)->required()->allow_extra_args(false);
  };
  add("--noisy", options.noisy,
      "web pairs: folder, .jsonl, .json or tars, as blip capfilt reads them (may be given several "
      "times)");
  add("--clean", options.clean, "pairs that people wrote (may be given several times)");
  command.add_option("--noisy-images", options.noisy_images,
                     "folder that the names in --noisy are relative to (default: beside the file)");
  command.add_option("--clean-images", options.clean_images, "the same for --clean");
  command.add_option("--output", options.output, "folder for everything")->required();
}

void add_to(CLI::App& command, BootstrapFlags& flags) {
  BootstrapOptions& options = flags.options;
  add_data(command, options);
  command
      .add_option("--rounds", options.rounds,
                  "how often CapFilt and pre-training follow; the next round's captioner and "
                  "filter come from the model of the last")
      ->capture_default_str()
      ->check(CLI::Range(1, 100));
  const auto add = [&](const char* name, std::string& file, const char* of) {
    command.add_option(name, file, std::string("the trainer's configuration for ") + of)
        ->capture_default_str();
  };
  add("--config-pretrain", options.pretrain, "pre-training");
  add("--config-caption", options.caption, "the captioner");
  add("--config-retrieval", options.retrieval, "the filter");
  command.add_flag_callback(
      "--no-captioner", [&options] { options.captioner = false; }, "CapFilt only filters");
  command.add_flag_callback(
      "--no-filter", [&options] { options.filter = false; }, "CapFilt only writes texts");
  command.add_option(
      "SETTING", options.overrides,
      "TASK.KEY=VALUE, such as pretrain.optim.max_steps=1000: a key of the trainer for the TASK "
      "pretrain, caption, retrieval, or train (all three); an option of blip capfilt for capfilt, "
      "such as capfilt.itm_threshold=0.6");
  command.add_option("--redo", flags.redo, "make this stage and what follows from it anew")
      ->allow_extra_args(false);
  command.add_flag("--plan", flags.plan, "show the stages, and what is done, and do nothing");
}

void show_plan(const BootstrapStages& stages, const std::vector<BootstrapStage>& plan,
               const std::vector<std::size_t>& redo) {
  std::vector<bool> anew(plan.size());
  for (const std::size_t i : redo) anew[i] = true;
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const StageState state = anew[i] ? StageState::to_do : stages.state(i);
    const char* word = state == StageState::done    ? "done"
                       : state == StageState::begun ? "begun"
                                                    : "to do";
    std::printf("%-18s %s\n", plan[i].name.c_str(), word);
    if (state != StageState::done) std::printf("  %s\n", shell_line(plan[i].line).c_str());
  }
}

/// A worker of CapFilt has done its part where others are still busy. Throws Error{io} then.
void require_whole(const BootstrapStages& stages, const BootstrapStage& stage, std::size_t at) {
  std::error_code ignored;
  if (stage.task != "capfilt" ||
      std::filesystem::exists(pairs_statistics(stages.folder(at)), ignored))
    return;
  throw Error(ErrorCode::io, stage.name +
                                 " is not whole: other workers of blip capfilt are busy with its "
                                 "parts; when they have ended, the same command (without --redo) "
                                 "goes on there");
}

/// Runs one stage. Returns its program's exit status; it has said why. Throws what require_whole()
/// throws.
int do_stage(const BootstrapStages& stages, const std::vector<BootstrapStage>& plan,
             std::size_t at) {
  std::fprintf(stderr, "%s (%zu of %zu)\n", plan[at].name.c_str(), at + 1, plan.size());
  stages.begin(at);
  const int status = run_program(plan[at].line);
  if (status != 0) return status;
  require_whole(stages, plan[at], at);
  stages.end(at);
  return 0;
}

/// Goes through what is not done. Returns the exit status.
int do_stages(const BootstrapStages& stages, const std::vector<BootstrapStage>& plan) {
  for (std::size_t i = 0; i < plan.size(); ++i) {
    if (stages.state(i) == StageState::done) continue;
    const int status =
        stop_requested() ? exit_status(ErrorCode::cancelled) : do_stage(stages, plan, i);
    if (status == 0) continue;
    if (status == exit_status(ErrorCode::cancelled)) {
      throw Error(ErrorCode::cancelled,
                  "stopped on request; the same command (without --redo) goes on where it stopped");
    }
    const std::string what = status > 128 ? "was ended by signal " + std::to_string(status - 128)
                                          : "ended with exit status " + std::to_string(status);
    std::fprintf(stderr, "blip: %s %s; the same command (without --redo) goes on there\n",
                 plan[i].name.c_str(), what.c_str());
    return status > 128 ? exit_status(ErrorCode::io) : status;
  }
  return 0;
}

int run(const BootstrapFlags& flags) {
  install_stop_handler();
  const std::vector<BootstrapStage> plan = plan_bootstrap(flags.options);
  const std::filesystem::path& output = flags.options.output;
  const BootstrapStages stages(output, plan);
  const std::vector<std::size_t> redo = stages.with_dependents(flags.redo);
  if (flags.plan) {
    show_plan(stages, plan, redo);
    return 0;
  }
  const FolderLock lock(output);
  for (auto i = redo.rbegin(); i != redo.rend(); ++i) stages.remove(*i);
  stages.check();
  const int status = do_stages(stages, plan);
  if (status != 0) return status;
  const Json report = bootstrap_report(stages, plan);
  write_file(output / "report.json", [&](std::ostream& out) { out << dump(report, 2) << '\n'; });
  std::fputs(bootstrap_table(report).c_str(), stdout);
  return 0;
}

}  // namespace

void add_bootstrap_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand(
      "bootstrap", "Train on web data in rounds: pre-train, tune captioner and filter, CapFilt");
  const auto flags = std::make_shared<BootstrapFlags>();
  add_to(*command, *flags);
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
