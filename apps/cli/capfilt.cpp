#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "apps/cli/capfilt_assembly.h"
#include "apps/cli/capfilt_part.h"
#include "apps/cli/capfilt_plan.h"
#include "apps/cli/commands.h"
#include "apps/cli/flags.h"
#include "apps/cli/progress.h"
#include "apps/cli/stop.h"
#include "blip/base/error.h"
#include "blip/checkpoint/checkpoint.h"
#include "blip/generation/generation_json.h"
#include "blip/tasks/capfilt.h"
#include "blip/tasks/retrieval.h"

namespace blip::cli {
namespace {

/// Which of how many workers this one is.
struct Shard {
  std::size_t index = 0;
  std::size_t count = 1;
};

struct CapFiltFlags {
  std::vector<std::string> paths;  ///< IN..., OUT
  CapFiltFiles files;
  std::string captioner, filter;
  bool no_captioner = false, no_filter = false;
  EngineOptions engines;
  int num_threads = 0;
  std::size_t batch_size = 8;
  ImageFlags image;
  GenerationFlags generation;
  std::string method = "nucleus";
  int captions = 1;
  CLI::Option* prompt_option = nullptr;
  CapFiltOptions options;
  std::string shard;
};

Shard parse_shard(const std::string& text) {
  Shard shard;
  if (text.empty()) return shard;
  unsigned long index = 0, count = 0;
  int read = 0;
  const bool form = std::sscanf(text.c_str(), "%9lu/%9lu%n", &index, &count, &read) == 2;
  if (!form || static_cast<std::size_t>(read) != text.size() || index >= count) {
    throw Error(
        ErrorCode::usage,
        "--shard takes I/N with I from 0 to N - 1, such as 0/4, but got " + in_quotes(text));
  }
  return {index, count};
}

/// Throws Error{usage} unless each model is named or left out.
void check(const CapFiltFlags& flags) {
  if (flags.paths.size() < 2)
    throw Error(ErrorCode::usage, "IN and OUT are required: what to read, and what to write");
  const auto need = [](bool named, bool left_out, const std::string& part) {
    if (named == left_out) {
      throw Error(ErrorCode::usage,
                  named
                      ? "--" + part + " and --no-" + part + " cannot be given together"
                      : "name a checkpoint with --" + part + ", or leave it out with --no-" + part);
    }
  };
  need(!flags.captioner.empty(), flags.no_captioner, "captioner");
  need(!flags.filter.empty(), flags.no_filter, "filter");
}

bool is_authors(const Engine& engine) {
  return engine.checkpoint().family == CheckpointFamily::authors;
}

CapFiltOptions capfilt_options(const CapFiltFlags& flags, const std::optional<Engine>& captioner,
                               const std::optional<Engine>& filter) {
  CapFiltOptions options = flags.options;
  options.captioner = captioner.has_value();
  options.filter = filter.has_value();
  options.writing = flags.method == "beam" ? paper_caption_options() : nucleus_caption_options();
  GenerationConfig& generation = options.writing.generation;
  generation.num_return_sequences = flags.captions;
  if (flags.method == "beam") generation.num_beams = std::max(3, flags.captions);
  flags.generation.apply_to(generation);
  if (flags.prompt_option->count() == 0 && captioner && is_authors(*captioner))
    options.prompt = kPaperPrompt;
  return options;
}

/// The models; one that is named twice is opened once.
std::pair<std::optional<Engine>, std::optional<Engine>> load_engines(const CapFiltFlags& flags) {
  std::optional<Engine> captioner, filter;
  if (!flags.no_captioner) captioner = Engine::load(flags.captioner, flags.engines);
  std::error_code ignored;
  if (captioner && !flags.no_filter &&
      std::filesystem::equivalent(flags.captioner, flags.filter, ignored)) {
    filter = captioner;
  } else if (!flags.no_filter) {
    filter = Engine::load(flags.filter, flags.engines);
  }
  return {captioner, filter};
}

/// Everything that the result depends on: a job goes on only as what it was.
Json describe_run(const CapFiltFlags& flags, const CapFiltPlan& plan, const CapFiltOptions& options,
                  const std::optional<Engine>& captioner, const std::optional<Engine>& filter) {
  const auto model = [](const std::optional<Engine>& engine) -> Json {
    if (!engine) return nullptr;
    return {{"fingerprint", model_fingerprint(*engine)}, {"precision", name(engine->precision())}};
  };
  const ImageOptions& image = flags.image.options;
  Json run = plan.describe();
  run["captioner"] = model(captioner);
  run["filter"] = model(filter);
  if (captioner) {
    run["prompt"] = options.prompt;
    run["generation"] = to_json(options.writing.generation);
  }
  if (filter) {
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
  CapFiltJob(const CapFiltPlan& plan, const CapFiltWork& work, Shard shard)
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
  Shard shard_;
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
  std::printf("%zu of the job's %zu parts were done here; the rest is for other workers%s\n",
              job.count(PartOutcome::done) + job.count(PartOutcome::was_done), plan.parts().size(),
              unreadable > 0 ? ", or cannot be read" : "");
  return unreadable > 0 ? 1 : 0;
}

int tell_done(const CapFiltPlan& plan) {
  std::printf("%s is done already (%s)\n", plan.out().c_str(), plan.total("stats.json").c_str());
  return 0;
}

int run(CapFiltFlags& flags) {
  check(flags);
  const Shard shard = parse_shard(flags.shard);
  install_stop_handler();
  flags.files.in.assign(flags.paths.begin(), flags.paths.end() - 1);
  flags.files.out = flags.paths.back();
  const CapFiltPlan plan(flags.files);
  const auto [captioner, filter] = load_engines(flags);
  const CapFiltOptions options = capfilt_options(flags, captioner, filter);
  const CapFilter recipe(capfilt_model(captioner, filter, options), options);
  const Json run = describe_run(flags, plan, options, captioner, filter);
  if (was_assembled(plan, run)) return tell_done(plan);
  begin_parts(plan, run);
  const Context context{flags.num_threads, &stop_requested()};
  CapFiltJob job(plan, {recipe, flags.image.options, flags.batch_size, context, {}, {}}, shard);
  try {
    job.run();
    return tell(plan, assemble(plan, run, context), job);
  } catch (const Error&) {
    // Where another worker has put the whole together, the parts are gone.
    if (!was_assembled(plan, run)) throw;
    return tell_done(plan);
  }
}

void add_models(CLI::App& command, CapFiltFlags& flags) {
  command.add_option(
      "--captioner", flags.captioner,
      "checkpoint that writes texts: a Hugging Face folder or an authors' .pth file");
  command.add_option("--filter", flags.filter,
                     "checkpoint with an ITM head that judges them; may be the same");
  command.add_flag("--no-captioner", flags.no_captioner, "filter the texts that are there");
  command.add_flag("--no-filter", flags.no_filter, "keep every text");
  command
      .add_option_function<std::string>(
          "--precision",
          [&flags](const std::string& word) { flags.engines.precision = find_precision(word); },
          "arithmetic of both models' layers (auto: as the checkpoints are stored)")
      ->default_str("auto")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "int8"}));
  command
      .add_option("--vision-heads", flags.engines.vision_heads,
                  "attention heads of a .pth's vision encoder (default: its width / 64)")
      ->check(CLI::Range(1, 1024));
  command.add_option("--num-threads", flags.num_threads, "threads (default: one per core)")
      ->check(CLI::Range(1, 1024));
  command
      .add_option("--batch-size", flags.batch_size,
                  "pictures whose texts are written together; results do not depend on it")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
}

void add_files(CLI::App& command, CapFiltFlags& flags) {
  command
      .add_option(
          "PATH", flags.paths,
          "IN... OUT: what to read (folders of pictures with .txt sidecars, .jsonl, COCO's "
          ".json, WebDataset shards such as shards/{000..099}.tar or a folder of them), and "
          "last what to write, of the same kind")
      ->required();
  command
      .add_option("--human", flags.files.human,
                  "human-annotated sets, which are added to OUT unfiltered (may be given several "
                  "times)")
      ->allow_extra_args(false);
  command.add_option("--images", flags.files.images,
                     "folder that the names in IN are relative to (default: beside the file)");
  command.add_option("--human-images", flags.files.human_images,
                     "the same for the names in --human");
  command.add_option("--to", flags.files.kind, "what OUT is (default: of IN's kind)")
      ->check(CLI::IsMember({"tar", "folder", "jsonl", "coco"}));
  command
      .add_option("--part-size", flags.files.part_size,
                  "records that one worker does at a time, where IN is not in tars")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000'000));
  command.add_option("--shard", flags.shard,
                     "I/N: do every Nth part from part I, counted from 0, as one of N workers");
}

void add_rule(CLI::App& command, CapFiltFlags& flags) {
  command
      .add_option("--itm-threshold", flags.options.itm_threshold,
                  "drop texts whose probability of a match is lower")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  command
      .add_option("--itc-threshold", flags.options.itc_threshold,
                  "drop texts whose cosine is lower as well (default: off)")
      ->check(CLI::Range(-1.0, 1.0));
  command
      .add_option("--method", flags.method,
                  "how texts are written: nucleus sampling (p = 0.9), or beam search (3 beams)")
      ->capture_default_str()
      ->check(CLI::IsMember({"nucleus", "beam"}))
      ->group("Generation");
  command.add_option("--captions", flags.captions, "texts that are written for each picture")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000))
      ->group("Generation");
  flags.prompt_option =
      command
          .add_option("--prompt", flags.options.prompt,
                      "how they begin (default: \"a picture of \" for authors' checkpoints, else "
                      "none); it is no part of the text")
          ->group("Generation");
  flags.generation.add_to(command);
}

}  // namespace

void add_capfilt_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand(
      "capfilt", "Clean web data: write texts for pictures, and keep those that match (CapFilt)");
  const auto flags = std::make_shared<CapFiltFlags>();
  add_files(*command, *flags);
  add_models(*command, *flags);
  add_rule(*command, *flags);
  flags->image.add_to(*command);
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
