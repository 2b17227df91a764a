#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "train/data/source.h"
#include "train/run/configuration.h"
#include "train/run/process_group.h"
#include "train/run/report.h"
#include "train/run/setup.h"
#include "train/run/stop.h"
#include "train/run/trainer.h"

namespace blip::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHelp =
    "Trains BLIP.\n"
    "\n"
    "Usage: blip-train TASK --config FILE [--resume] [KEY=VALUE...]\n"
    "\n"
    "  TASK        pretrain, caption, retrieval, vqa or nlvr\n"
    "  --config    a YAML file: yours, or the name of one that comes with the program\n"
    "  --resume    go on from the newest checkpoint in the output, if there is one\n"
    "  KEY=VALUE   overrides the file\n"
    "  --check     print the whole configuration and end: what is wrong in it is told now\n"
    "  --keys      all keys, their defaults and meanings (--keys=markdown: as a table)\n"
    "  --version\n"
    "\n"
    "Examples:\n"
    "  # a captioner of your own pictures, each with a .txt beside it\n"
    "  blip-train caption --config caption_coco.yaml output=run "
    "model.init=blip-image-captioning-base \\\n"
    "      data.train=[photos/] optim.batch_size=8\n"
    "  # the same in little memory\n"
    "  blip-train caption --config caption_coco.yaml output=run "
    "model.init=blip-image-captioning-base \\\n"
    "      data.train=[photos/] optim.batch_size=2 optim.accumulation=16 model.lora_rank=8 \\\n"
    "      model.vision_checkpoint_layers=12\n"
    "  # a small model from nothing on two cores\n"
    "  blip-train pretrain --config small_pretrain.yaml output=run data.train=[captions.jsonl]\n"
    "  # go on after an interruption\n"
    "  blip-train pretrain --config run/config.yaml --resume\n"
    "  # on 8 GPUs of one machine\n"
    "  torchrun --no-python --nproc-per-node 8 blip-train pretrain --config pretrain.yaml "
    "output=run \\\n"
    "      device=cuda precision=bf16 'data.train=shards/{00000..01023}.tar'\n"
    "\n"
    "Exit status: 0 done, 2 wrong usage, 3 not found, 4 cannot read or write, a process lost, or a "
    "loss\n"
    "that is no number, 5 damaged model, 6 not supported, 8 too large, 130 stopped (a checkpoint "
    "is "
    "there).\n";

struct Arguments {
  std::string task, config;
  std::vector<std::string> overrides;
  bool resume = false;
  bool check = false;
};

[[noreturn]] void wrong(const std::string& message) {
  throw Error(ErrorCode::usage, message + " (see blip-train --help)");
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--config") {
      if (++i == argc) wrong("--config needs a file");
      arguments.config = argv[i];
    } else if (word.starts_with("--config=")) {
      arguments.config = word.substr(9);
    } else if (word == "--resume") {
      arguments.resume = true;
    } else if (word == "--check") {
      arguments.check = true;
    } else if (word.starts_with("-")) {
      wrong("there is no option " + in_quotes(word));
    } else if (word.find('=') != std::string::npos) {
      arguments.overrides.push_back(word);
    } else if (arguments.task.empty()) {
      arguments.task = word;
    } else {
      wrong(in_quotes(word) + " should be KEY=VALUE");
    }
  }
  if (arguments.task.empty()) wrong("no task was named");
  data_kind(arguments.task);
  if (arguments.config.empty()) wrong("--config FILE is missing");
  return arguments;
}

/// A name without a folder that is not here is one of those that come with the program.
fs::path find_configuration(const std::string& name) {
  std::error_code error;
  if (fs::exists(name, error) || name.find('/') != std::string::npos) return name;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const fs::path known = program.parent_path().parent_path() / "share" / "blip" / "train" / name;
  return fs::exists(known, error) ? known : fs::path(name);
}

torch::Device choose_device(const std::string& name, const Rendezvous& rendezvous) {
  if (name == "cpu") return torch::kCPU;
  if (!torch::cuda::is_available()) {
    throw Error(ErrorCode::unsupported,
                "\"device\" is " + name + ", but this machine or this build has no CUDA");
  }
  if (name != "cuda") return torch::Device(name);
  return {torch::kCUDA, static_cast<torch::DeviceIndex>(rendezvous.local_rank)};
}

/// Makes the output folder, and leaves a copy of the configuration in it.
void prepare_output(const Configuration& configuration) {
  if (configuration.output.empty()) wrong("\"output\" is not set: where should the run write to?");
  std::error_code error;
  fs::create_directories(configuration.output, error);
  if (error) {
    throw Error(ErrorCode::io, "cannot create " + configuration.output + ": " + error.message());
  }
}

void save_configuration(const Configuration& configuration) {
  write_file(fs::path(configuration.output) / "config.yaml",
             [&](std::ostream& out) { out << to_yaml(configuration); });
}

/// Pictures among the last batch's keys, for the report.
std::vector<std::string> sample_pictures(const std::vector<std::string>& keys, std::int64_t most) {
  std::vector<std::string> files;
  for (const std::string& key : keys) {
    std::error_code ignored;
    const bool again = std::find(files.begin(), files.end(), key) != files.end();
    if (static_cast<std::int64_t>(files.size()) < most && !again && fs::exists(key, ignored)) {
      files.push_back(key);
    }
  }
  return files;
}

void finish(const Arguments& arguments, const Configuration& configuration, const Setup& setup,
            const std::vector<std::string>& keys) {
  const fs::path output = configuration.output;
  save_model(setup, configuration.run.layouts, output);
  std::vector<ReportSample> samples;
  if (arguments.task == "caption" || arguments.task == "pretrain") {
    samples = caption_samples(output / "model", configuration.data.prompt,
                              sample_pictures(keys, configuration.run.report_samples));
  }
  write_report(output, arguments.task, configuration, samples);
  std::fprintf(stderr, "the model is in %s, the report is %s\n", (output / "model").c_str(),
               (output / "report.html").c_str());
}

int show_configuration(const Arguments& arguments) {
  const Configuration configuration =
      read_configuration(find_configuration(arguments.config), arguments.overrides);
  std::fputs(to_yaml(configuration).c_str(), stdout);
  return 0;
}

void train(const Arguments& arguments, const Rendezvous& rendezvous) {
  const Configuration configuration =
      read_configuration(find_configuration(arguments.config), arguments.overrides);
  prepare_output(configuration);
  if (configuration.threads > 0) at::set_num_threads(static_cast<int>(configuration.threads));
  const bool writer = rendezvous.rank == 0;
  const auto tell = [&](const std::string& line) {
    if (writer) std::fprintf(stderr, "%s\n", line.c_str());
  };
  install_stop_handler();
  const torch::Device device = choose_device(configuration.device, rendezvous);
  const auto group =
      join(rendezvous, configuration.run.backend, device, configuration.run.timeout_seconds);
  const Setup setup = set_up(arguments.task, configuration, group->size(), tell);
  setup.task->to(device);
  BadRecords bad(configuration.data.max_bad_share, tell);
  const DataKind kind = data_kind(arguments.task);
  const Share share{group->rank(), group->size(), configuration.optim.batch_size,
                    configuration.optim.accumulation};
  DataOptions data = configuration.data;
  // Gathered texts must be of one length.
  if (group->size() > 1 && arguments.task == "retrieval") data.pad_to_length = true;
  const auto source =
      make_source(data, kind, share, static_cast<std::uint64_t>(configuration.seed), bad);
  const Collator collator(*setup.tokenizer, data, kind, setup.processor);
  tell(std::to_string(source->size()) + " records an epoch, " + std::to_string(share.step_size()) +
       " a step, " + std::to_string(group->size()) +
       (group->size() == 1 ? " process" : " processes"));
  Trainer trainer({arguments.task, configuration, *setup.task, source, collator, bad, *group,
                   device, stop_requested(), arguments.resume});
  if (writer) save_configuration(configuration);
  trainer.run();
  if (writer) finish(arguments, configuration, setup, trainer.last_keys());
  // Rank 0 keeps the store: nobody leaves before it is done.
  group->all_gather(torch::zeros({1}, torch::TensorOptions(device)));
}

int fail(const std::string& message, ErrorCode code) {
  std::fprintf(stderr, "blip-train: %s\n", message.c_str());
  return exit_status(code);
}

int run(int argc, char** argv, Rendezvous& rendezvous) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool help = word == "--help" || word == "-h", keys = word.starts_with("--keys");
    if (help) std::fputs(kHelp, stdout);
    if (keys) std::fputs(describe_fields(word == "--keys=markdown").c_str(), stdout);
    if (word == "--version") std::puts("blip-train " BLIP_VERSION);
    if (help || keys || word == "--version") return 0;
  }
  try {
    const Arguments arguments = parse(argc, argv);
    if (arguments.check) return show_configuration(arguments);
    rendezvous = Rendezvous::from_environment();
    train(arguments, rendezvous);
    return 0;
  } catch (const Error& e) {
    return fail(e.what(), e.code());
  } catch (const std::bad_alloc&) {
    return fail("out of memory", ErrorCode::too_large);
  } catch (const c10::Error& e) {
    return fail(std::string("internal error: ") + e.what_without_backtrace(), ErrorCode::internal);
  } catch (const std::exception& e) {
    return fail(std::string("internal error: ") + e.what(), ErrorCode::internal);
  }
}

}  // namespace
}  // namespace blip::train

int main(int argc, char** argv) {
  blip::train::Rendezvous rendezvous;
  const int status = blip::train::run(argc, argv, rendezvous);
  std::fflush(nullptr);
  // Connections to processes that are lost may not close in any time.
  if (status != 0 && rendezvous.size > 1) std::_Exit(status);
  return status;
}
