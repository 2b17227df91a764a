#include "apps/cli/bootstrap_plan.h"

#include <algorithm>
#include <map>
#include <span>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "apps/cli/capfilt_flags.h"
#include "apps/cli/child.h"
#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/index/checksum.h"

namespace blip::cli {
namespace {

namespace fs = std::filesystem;

/// Of `TASK.KEY=VALUE`; "train" is every task of the trainer.
constexpr std::string_view kTasks[] = {"pretrain", "caption", "retrieval", "train", "capfilt"};
/// What the stages themselves set.
constexpr std::string_view kOwnKeys[] = {"output",    "data.train",   "data.images",  "model.init",
                                         "captioner", "filter",       "no-captioner", "no-filter",
                                         "human",     "human-images", "images",       "shard"};
/// What a run's result does not depend on.
constexpr std::string_view kFreeKeys[] = {
    "output",        "data.train",       "data.images", "model.init",         "data.threads",
    "data.prefetch", "save.every_steps", "save.keep",   "distributed.timeout"};

bool is_one_of(std::string_view word, std::span<const std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

[[noreturn]] void refuse(const std::string& sentence) {
  throw Error(ErrorCode::usage, sentence);
}

using Settings = std::map<std::string, std::vector<std::string>>;  ///< by task: KEY=VALUE

Settings sort_overrides(const std::vector<std::string>& overrides) {
  Settings settings;
  for (const std::string& text : overrides) {
    const std::size_t dot = text.find('.'), equals = text.find('=');
    const std::string task = text.substr(0, std::min(dot, equals));
    if (equals == std::string::npos || dot > equals || !is_one_of(task, kTasks)) {
      refuse(in_quotes(text) +
             " should be TASK.KEY=VALUE, with a TASK of pretrain, caption, retrieval, train (all "
             "three) or capfilt");
    }
    std::string key = text.substr(dot + 1, equals - dot - 1);
    if (task == "capfilt") std::replace(key.begin(), key.end(), '_', '-');
    if (is_one_of(key, kOwnKeys)) refuse(in_quotes(key) + " is set by the stages themselves");
    const auto set = [&](std::vector<std::string>& all) {
      // The last one counts.
      std::erase_if(all, [&](const std::string& one) { return one.starts_with(key + "="); });
      all.push_back(key + text.substr(equals));
    };
    if (task != "train") {
      set(settings[task]);
      continue;
    }
    for (const char* each : {"pretrain", "caption", "retrieval"}) set(settings[each]);
  }
  return settings;
}

/// A configuration as `blip-train --check` prints it, by dotted keys, values as they are written.
Json read_configuration(const std::string& text) {
  Json values = Json::object();
  std::istringstream in(text);
  std::string section;
  for (std::string line; std::getline(in, line);) {
    line.erase(std::min(line.rfind("  # "), line.size()));
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const bool nested = line.starts_with("  ");
    std::string key = line.substr(nested ? 2 : 0, colon - (nested ? 2 : 0));
    if (colon + 1 == line.size()) {
      section = key + ".";
      continue;
    }
    if (!nested) section.clear();
    values[section + key] = line.substr(colon + 2);
  }
  return values;
}

bool is_free(const std::string& key) {
  return is_one_of(key, kFreeKeys) || key.starts_with("log.");
}

/// What tells the data of two runs apart: a file's content, another source's name.
Json describe_data(const std::vector<std::string>& sources) {
  Json all = Json::array();
  for (const std::string& source : sources) {
    std::error_code ignored;
    const bool pattern = source.find('{') != std::string::npos;
    if (!pattern && !fs::exists(source, ignored))
      throw Error(ErrorCode::not_found, source + " does not exist");
    if (!fs::is_regular_file(source, ignored)) {
      all.push_back(source);
      continue;
    }
    const auto file = MappedFile::open(source);
    all.push_back({{"bytes", file->bytes().size()}, {"checksum", to_hex(checksum(file->bytes()))}});
  }
  return all;
}

/// Throws Error{usage} for what `blip capfilt` would refuse: `line` without the program.
void check_capfilt(const std::vector<std::string>& line) {
  CLI::App app;
  CapFiltFlags flags;
  flags.add_to(app);
  try {
    // CLI11 takes the last first.
    app.parse(std::vector<std::string>(line.rbegin(), line.rend()));
    const CapFiltPlan plan(flags.files());
  } catch (const CLI::ParseError& e) {
    refuse(std::string("capfilt: ") + e.what() + " (see blip capfilt --help)");
  } catch (const Error& e) {
    throw Error(e.code(), std::string("capfilt: ") + e.what());
  }
}

class Planner {
 public:
  explicit Planner(const BootstrapOptions& options)
      : options_(options),
        settings_(sort_overrides(options.overrides)),
        trainer_(find_trainer().string()) {
    if (!options.captioner && !options.filter)
      refuse("without captioner and filter there is nothing to bootstrap");
    for (const std::string& setting : settings_["capfilt"]) capfilt_.push_back("--" + setting);
    noisy_ = describe_data(options.noisy);
    clean_ = describe_data(options.clean);
    configurations_["pretrain"] = check_training("pretrain", options.pretrain);
    if (options.captioner) {
      configurations_["caption"] = check_training("caption", options.caption);
      take_prompt();
    }
    if (options.filter)
      configurations_["retrieval"] = check_training("retrieval", options.retrieval);
  }

  std::vector<BootstrapStage> plan() {
    std::size_t base = add_pretraining("", options_.noisy, noisy_, {});
    for (int r = 1; r <= options_.rounds; ++r) {
      const std::string round = "round" + std::to_string(r) + "/";
      std::vector<std::size_t> made;
      if (options_.captioner)
        made.push_back(add_tuning(round + "captioner", "caption", options_.caption, base));
      if (options_.filter)
        made.push_back(add_tuning(round + "filter", "retrieval", options_.retrieval, base));
      const std::size_t pairs = add_capfilt(round, std::move(made));
      base = add_pretraining(round, {pairs_file(round)}, Json(), {pairs});
    }
    return std::move(stages_);
  }

 private:
  fs::path at(const std::string& name) const { return options_.output / name; }

  Json check_training(const std::string& task, const std::string& configuration) {
    std::vector<std::string> line = {trainer_, task, "--config", configuration, "--check"};
    const auto& settings = settings_[task];
    line.insert(line.end(), settings.begin(), settings.end());
    Json values = Json::object();
    try {
      const Json all = read_configuration(output_of(line));
      for (const auto& [key, value] : all.items()) {
        if (!is_free(key)) values[key] = value;
      }
    } catch (const Error& e) {
      throw Error(e.code(), task + ": " + e.what());
    }
    return values;
  }

  /// The prompt that the captioner learns with is the one that it writes after.
  void take_prompt() {
    const auto is_prompt = [](const std::string& option) {
      return option.starts_with("--prompt=");
    };
    if (std::any_of(capfilt_.begin(), capfilt_.end(), is_prompt)) return;
    const Json& quoted = configurations_["caption"].at("data.prompt");
    const std::string prompt = parse_json(quoted.get<std::string>(), "data.prompt");
    capfilt_.push_back("--prompt=" + prompt);
  }

  std::size_t add(BootstrapStage stage) {
    stages_.push_back(std::move(stage));
    return stages_.size() - 1;
  }

  BootstrapStage training(const std::string& name, const std::string& task,
                          const std::string& configuration) {
    BootstrapStage stage{
        name, task, {trainer_, task, "--config", configuration, "--resume"}, {}, {}};
    const auto& settings = settings_[task];
    stage.line.insert(stage.line.end(), settings.begin(), settings.end());
    stage.line.push_back("output=" + at(name).string());
    stage.made_from = configurations_[task];
    return stage;
  }

  void set_data(BootstrapStage& stage, std::vector<std::string> sources,
                std::vector<std::string> images) const {
    stage.line.push_back("data.train=" + dump(Json(std::move(sources))));
    const bool beside =
        std::all_of(images.begin(), images.end(), [](const auto& i) { return i.empty(); });
    if (!beside) stage.line.push_back("data.images=" + dump(Json(std::move(images))));
  }

  /// On web data, as it is or as CapFilt left it, and the clean pairs, from scratch.
  std::size_t add_pretraining(const std::string& round, std::vector<std::string> web, Json web_data,
                              std::vector<std::size_t> after) {
    BootstrapStage stage = training(round + "pretrain", "pretrain", options_.pretrain);
    std::vector<std::string> images(web.size(), options_.noisy_images);
    web.insert(web.end(), options_.clean.begin(), options_.clean.end());
    images.resize(web.size(), options_.clean_images);
    set_data(stage, std::move(web), std::move(images));
    if (after.empty()) stage.made_from["noisy"] = std::move(web_data);
    stage.made_from["clean"] = clean_;
    stage.after = std::move(after);
    return add(std::move(stage));
  }

  /// From the last pre-trained model, on the clean pairs.
  std::size_t add_tuning(const std::string& name, const std::string& task,
                         const std::string& configuration, std::size_t base) {
    BootstrapStage stage = training(name, task, configuration);
    stage.line.push_back("model.init=" + (at(stages_[base].name) / "model").string());
    set_data(stage, options_.clean,
             std::vector<std::string>(options_.clean.size(), options_.clean_images));
    stage.made_from["clean"] = clean_;
    stage.after = {base};
    return add(std::move(stage));
  }

  std::string pairs_file(const std::string& round) const {
    const fs::path folder = at(round + "pairs");
    const std::string ending = fs::path(options_.noisy.front()).extension().string();
    const bool file = ending == ".jsonl" || ending == ".json";
    return (folder / (file ? "pairs" + ending : "pairs")).string();
  }

  std::size_t add_capfilt(const std::string& round, std::vector<std::size_t> made) {
    BootstrapStage stage{round + "pairs", "capfilt", {own_program().string(), "capfilt"}, {}, {}};
    stage.line.insert(stage.line.end(), options_.noisy.begin(), options_.noisy.end());
    stage.line.push_back(pairs_file(round));
    const auto model = [&](const std::string& part, bool there) {
      if (there) stage.line.push_back("--" + part + "=" + (at(round + part) / "model").string());
      if (!there) stage.line.push_back("--no-" + part);
    };
    model("captioner", options_.captioner);
    model("filter", options_.filter);
    if (!options_.noisy_images.empty()) stage.line.push_back("--images=" + options_.noisy_images);
    stage.line.insert(stage.line.end(), capfilt_.begin(), capfilt_.end());
    check_capfilt({stage.line.begin() + 2, stage.line.end()});
    stage.made_from = {
        {"noisy", noisy_}, {"captioner", options_.captioner}, {"filter", options_.filter}};
    for (const std::string& option : capfilt_) {
      const std::string key = option.substr(2, option.find('=') - 2);
      if (key != "num-threads" && key != "batch-size")
        stage.made_from[key] = option.substr(option.find('=') + 1);
    }
    stage.after = std::move(made);
    return add(std::move(stage));
  }

  const BootstrapOptions& options_;
  Settings settings_;
  std::string trainer_;
  std::vector<std::string> capfilt_;  ///< options
  Json noisy_, clean_;
  std::map<std::string, Json> configurations_;  ///< by task, what the result depends on
  std::vector<BootstrapStage> stages_;
};

}  // namespace

std::vector<BootstrapStage> plan_bootstrap(const BootstrapOptions& options) {
  return Planner(options).plan();
}

}  // namespace blip::cli
