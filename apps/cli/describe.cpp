#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/flags.h"
#include "apps/cli/picture_rows.h"
#include "apps/cli/polish_flags.h"
#include "apps/cli/stop.h"
#include "blip/base/error.h"
#include "blip/tasks/description.h"
#include "blip/tasks/description_json.h"

namespace blip::cli {
namespace {

const std::map<std::string, DescriptionRecipe> kRecipes = {
    {"classic", DescriptionRecipe::classic}, {"faithful", DescriptionRecipe::faithful}};
const std::map<std::string, DetailLevel> kLevels = {{"high", DetailLevel::high},
                                                    {"medium", DetailLevel::medium},
                                                    {"low", DetailLevel::low},
                                                    {"off", DetailLevel::off}};

struct DescribeFlags {
  PictureFlags pictures;
  DescriptionOptions options;
  CLI::Option* multi_round = nullptr;
  std::string options_file;
  std::vector<std::string> settings;  ///< KEY=VALUE
  bool show_options = false;
  std::string matcher;
  PolishFlags polish;
  Format format = Format::text;

  bool classic() const { return options.recipe == DescriptionRecipe::classic; }
};

/// {KEY: VALUE}; the value is JSON, or else a text.
Json parse_setting(const std::string& setting) {
  const std::size_t equals = setting.find('=');
  if (equals == std::string::npos) {
    throw Error(ErrorCode::usage, "--set takes KEY=VALUE, such as describe.num_beams=4, but got " +
                                      in_quotes(setting));
  }
  const std::string value = setting.substr(equals + 1);
  Json json = value;
  try {
    json = parse_json(value, "--set");
  } catch (const Error&) {
    // A text needs no quotes.
  }
  return Json::object({{setting.substr(0, equals), std::move(json)}});
}

Json read_options(const std::string& file) {
  try {
    return read_json(file);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::bad_model) throw;
    throw Error(ErrorCode::usage, e.what());
  }
}

DescriptionOptions description_options(const DescribeFlags& flags) {
  DescriptionOptions options = flags.options;
  const auto update = [&](const Json& json) {
    flags.classic() ? update_from_json(options.classic, json)
                    : update_from_json(options.faithful, json);
  };
  if (!flags.options_file.empty()) update(read_options(flags.options_file));
  for (const std::string& setting : flags.settings) update(parse_setting(setting));
  return options;
}

/// Throws Error{usage} for flags that have no effect together.
void check(const DescribeFlags& flags) {
  if (flags.classic() && !flags.matcher.empty())
    throw Error(ErrorCode::usage, "--matcher has an effect only together with --recipe faithful");
  if (!flags.classic() && flags.multi_round->count() > 0) {
    throw Error(ErrorCode::usage,
                "--multi-round has an effect only together with --recipe classic");
  }
  if (flags.multi_round->count() > 0 && flags.options.multi_round &&
      flags.options.detail == DetailLevel::off) {
    throw Error(ErrorCode::usage, "--multi-round has no effect together with --detail off");
  }
  if (flags.polish.given()) validate(flags.polish.service);
}

std::string in_words(const DescriptionProgress& progress) {
  switch (progress.stage) {
    case DescriptionStage::prompts:
      return "writing";
    case DescriptionStage::extending:
      return "extending";
    case DescriptionStage::scoring:
      return "judging";
    case DescriptionStage::round:
      break;
  }
  return "round " + std::to_string(progress.round) + " of " + std::to_string(progress.rounds);
}

Engine load_matcher(const DescribeFlags& flags) {
  Engine matcher = load_engine(flags.matcher, flags.pictures.model.second_options());
  if (!judge_by(matcher, {}).confidences) {
    throw Error(ErrorCode::unsupported,
                "--matcher " + flags.matcher + " has no heads that compare pictures and texts");
  }
  return matcher;
}

/// Describes pictures one after the other.
class PictureDescriber {
 public:
  PictureDescriber(const DescribeFlags& flags, std::size_t pictures)
      : flags_(flags),
        engine_(flags.pictures.model.load()),
        describer_(engine_),
        options_(description_options(flags)),
        status_(pictures),
        pictures_(pictures) {
    describer_.validate(options_);
  }

  void describe(PictureRow& row) {
    const Context context = flags_.pictures.context();
    DescriptionRequest request{row.image, {}};
    if (flags_.pictures.second) request.judge = judge_by(*flags_.pictures.second, row.second_image);
    const std::string place =
        "picture " + std::to_string(++done_) + " of " + std::to_string(pictures_) + ": ";
    Description description = describer_.describe(
        request, options_,
        [&](const DescriptionProgress& progress) { status_.say(place + in_words(progress)); },
        context);
    if (flags_.polish.given()) {
      status_.say(place + "polishing");
      polish(description, [&](const std::string& text) {
        return polished(flags_.polish.service, text, context);
      });
      if (!description.unpolished)
        row.warnings.push_back(row.label + ": not polished: " + description.polish_error);
    }
    status_.clear();
    row.findings = to_json(description);
    row.lines.push_back(description.text);
  }

  const Engine& engine() const { return engine_; }

 private:
  const DescribeFlags& flags_;
  Engine engine_;
  Describer describer_;
  DescriptionOptions options_;
  Progress status_;
  std::size_t pictures_;
  std::size_t done_ = 0;
};

int show_options(const DescribeFlags& flags) {
  const DescriptionOptions options = description_options(flags);
  const Json json = flags.classic() ? to_json(options.classic) : to_json(options.faithful);
  std::printf("%s\n", dump(json, 2).c_str());
  return 0;
}

int run(DescribeFlags& flags) {
  check(flags);
  if (flags.show_options) return show_options(flags);
  if (flags.pictures.paths.empty()) throw Error(ErrorCode::usage, "PATH is required");
  install_stop_handler();
  const std::vector<PictureInput> inputs = flags.pictures.inputs();
  flags.pictures.batch_size = 1;  // a description's prompts are a batch of their own
  if (!flags.matcher.empty()) flags.pictures.second = load_matcher(flags);
  PictureDescriber describer(flags, inputs.size());
  return write_rows(flags.pictures, inputs, describer.engine(), flags.format,
                    [&](std::span<PictureRow* const> rows) {
                      for (PictureRow* row : rows) describer.describe(*row);
                    });
}

void add_recipe_options(CLI::App& command, DescribeFlags& flags) {
  command
      .add_option("--recipe", flags.options.recipe,
                  "classic: several prompts, the longest text, rounds that ask for more (default); "
                  "faithful: many candidates, judged, the sure ones as sentences")
      ->transform(CLI::CheckedTransformer(kRecipes).description("{classic,faithful}"));
  command
      .add_option(
          "--detail", flags.options.detail,
          "classic: 3, 2, 1 or 1 rounds; faithful: at most 6, 4, 2 or 1 sentences (default: "
          "high)")
      ->transform(CLI::CheckedTransformer(kLevels).description("{high,medium,low,off}"));
  flags.multi_round =
      command.add_flag("--multi-round,!--no-multi-round", flags.options.multi_round,
                       "classic: as many rounds as --detail says (default), or one");
  command.add_option("--seed", flags.options.seed, "seed of the sampling")->capture_default_str();
  command
      .add_option("--set", flags.settings,
                  "KEY=VALUE, an option of the recipe, such as describe.num_beams=4 (may be given "
                  "several times)")
      ->allow_extra_args(false);  // a picture named after it is no option
  command.add_option("--options", flags.options_file,
                     "JSON file with options of the recipe, in the form of --show-options");
  command.add_flag("--show-options", flags.show_options,
                   "write the recipe's options as they would be used, and end");
  command.add_option("--matcher", flags.matcher,
                     "faithful: checkpoint that judges the candidates (default: the model itself)");
}

}  // namespace

void add_describe_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand("describe", "Write a long description of each picture");
  const auto flags = std::make_shared<DescribeFlags>();
  flags->pictures.add_to(*command)->required(false);  // not for --show-options
  command->remove_option(command->get_option("--batch-size"));
  add_recipe_options(*command, *flags);
  add_format_flag(*command, flags->format);
  flags->polish.add_to(*command);
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
