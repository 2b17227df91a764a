#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "apps/cli/capfilt_assembly.h"
#include "apps/cli/capfilt_flags.h"
#include "apps/cli/capfilt_part.h"
#include "apps/cli/capfilt_plan.h"
#include "apps/cli/commands.h"
#include "apps/cli/progress.h"
#include "apps/cli/stop.h"
#include "blip/base/error.h"
#include "blip/generation/generation_json.h"
#include "blip/tasks/capfilt.h"
#include "blip/tasks/retrieval.h"

namespace blip::cli {
namespace {

/// Everything that the result depends on: a job goes on only as what it was.
Json describe_run(const CapFiltFlags& flags, const CapFiltPlan& plan, const CapFiltOptions& options,
                  const CapFiltEngines& loaded) {
  const auto model = [](const std::optional<Engine>& engine) -> Json {
    if (!engine) return nullptr;
    return {{"fingerprint", model_fingerprint(*engine)}, {"precision", name(engine->precision())}};
  };
  const ImageOptions& image = flags.image.options;
  Json run = plan.describe();
  run["captioner"] = model(loaded.captioner);
  run["filter"] = model(loaded.filter);
  if (loaded.captioner) {
    run["prompt"] = options.prompt;
    run["generation"] = to_json(options.writing.generation);
  }
  if (loaded.filter) {
    run["itm_threshold"] = options.itm_threshold;
    run["itc_threshold"] = options.itc_threshold ? Json(*options.itc_threshold) : Json();
  }
  run["exif_orientation"] = image.exif_orientation;
  run["alpha"] = image.alpha == AlphaMode::white ? "white" : "drop";
  run["max_pixels"] = image.max_pixels;
  return run;
}

/// Goes through this worker's parts.
class CapFiltJob {
 public:
  CapFiltJob(const CapFiltPlan& plan, const CapFiltWork& work, CapFiltShard shard)
      : plan_(plan), work_(work), shard_(shard), start_(std::chrono::steady_clock::now()) {
    work_.progress = [this](std::size_t done) { show(done); };
    work_.complain = [this](const Error& e) {
      progress_.clear();
      std::fprintf(stderr, "blip: %s\n", e.what());
    };
  }

  /// Throws Error{cancelled} that says how to go on; what do_part() throws.
  void run() {
    for (at_ = shard_.index; at_ < plan_.parts().size(); at_ += shard_.count) {
      try {
        ++outcomes_[do_part(plan_, plan_.parts()[at_], work_)];
      } catch (const Error& e) {
        if (e.code() != ErrorCode::cancelled) throw;
        throw Error(e.code(), "stopped on request; the same command goes on where it stopped");
      }
      records_ += std::exchange(in_part_, 0);
    }
    progress_.clear();
  }

  std::size_t count(PartOutcome outcome) { return outcomes_[outcome]; }

 private:
  void show(std::size_t done) {
    in_part_ = done;
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start_;
    char speed[48];
    std::snprintf(speed, sizeof speed, ", %.1f records per second",
                  static_cast<double>(records_ + done) / time.count());
    progress_.say("part " + std::to_string(at_ + 1) + " of " +
                  std::to_string(plan_.parts().size()) + ": " + std::to_string(done) + " records" +
                  speed);
  }

  const CapFiltPlan& plan_;
  CapFiltWork work_;
  CapFiltShard shard_;
  Progress progress_{0};
  std::chrono::steady_clock::time_point start_;
  std::size_t at_ = 0;
  std::size_t records_ = 0, in_part_ = 0;  ///< of parts before, of this one
  std::map<PartOutcome, std::size_t> outcomes_;
};

/// What has become of the whole. Returns the exit status.
int tell(const CapFiltPlan& plan, const std::optional<CapFiltStatistics>& books, CapFiltJob& job) {
  const std::size_t unreadable = job.count(PartOutcome::unreadable);
  if (books) {
    std::printf("%lld records: %lld kept, %lld dropped, %lld failed\n",
                static_cast<long long>(books->records_in), static_cast<long long>(books->kept),
                static_cast<long long>(books->dropped), static_cast<long long>(books->failed));
    std::printf("%s\n%s\n", plan.out().c_str(), plan.total("report.html").c_str());
    return books->records_in > 0 && books->records_in == books->failed ? 1 : 0;
  }
  std::printf(
      "this worker's parts are done: %zu of the job's %zu; the others are for other workers%s\n",
      job.count(PartOutcome::done) + job.count(PartOutcome::was_done), plan.parts().size(),
      unreadable > 0 ? ", or cannot be read" : "");
  return unreadable > 0 ? 1 : 0;
}

int tell_done(const CapFiltPlan& plan) {
  std::printf("%s is done already (%s)\n", plan.out().c_str(), plan.total("stats.json").c_str());
  return 0;
}

int run(const CapFiltFlags& flags) {
  install_stop_handler();
  const CapFiltShard shard = flags.shard();
  const CapFiltFiles files = flags.files();
  const CapFiltEngines loaded = flags.load();
  const CapFiltPlan plan(files);
  const CapFiltOptions options = flags.options(loaded);
  const CapFilter recipe(capfilt_model(loaded.captioner, loaded.filter, options), options);
  const Json run = describe_run(flags, plan, options, loaded);
  if (was_assembled(plan, run)) return tell_done(plan);
  const Context context{flags.engines.num_threads, &stop_requested()};
  CapFiltJob job(plan, {recipe, flags.image.options, flags.batch_size, context, {}, {}}, shard);
  try {
    begin_parts(plan, run);
    job.run();
    return tell(plan, assemble(plan, run, context), job);
  } catch (const Error&) {
    // Where another worker has put the whole together, the parts are gone.
    if (!was_assembled(plan, run)) throw;
    return tell_done(plan);
  }
}

}  // namespace

void add_capfilt_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand(
      "capfilt", "Clean web data: write texts for pictures, and keep those that match (CapFilt)");
  const auto flags = std::make_shared<CapFiltFlags>();
  flags->add_to(*command);
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
