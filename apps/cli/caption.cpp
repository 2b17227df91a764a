#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/flags.h"
#include "apps/cli/picture_rows.h"
#include "apps/cli/stop.h"
#include "apps/findings/findings.h"
#include "blip/base/error.h"
#include "blip/tasks/captioning.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip::cli {
namespace {

enum class Preset { checkpoint, paper };
const std::map<std::string, Preset> kPresets = {{"checkpoint", Preset::checkpoint},
                                                {"paper", Preset::paper}};

struct CaptionFlags {
  PictureFlags pictures;
  GenerationFlags generation;
  Preset preset = Preset::checkpoint;
  CLI::Option* prompt_option = nullptr;
  std::string prompt;
  std::vector<std::string> bad_words;
  std::string forced_prefix;
  bool strip_prompt = false;
  Format format = Format::text;
};

/// The tokens of words given on the command line. Throws Error{usage} when the vocabulary lacks
/// one.
std::vector<int> known_tokens(const Tokenizer& tokenizer, const char* flag,
                              const std::string& words) {
  std::vector<int> ids = tokenizer.encode_plain(words);
  if (ids.empty() || std::find(ids.begin(), ids.end(), tokenizer.unk_id()) != ids.end()) {
    throw Error(ErrorCode::usage, std::string(flag) + " " + in_quotes(words) +
                                      " has no tokens in the model's vocabulary");
  }
  return ids;
}

CaptionOptions caption_options(const CaptionFlags& flags, const Engine& engine) {
  CaptionOptions options;
  options.generation = engine.default_generation();
  if (flags.preset == Preset::paper) options = paper_caption_options();
  flags.generation.apply_to(options.generation);
  options.strip_prompt = options.strip_prompt || flags.strip_prompt;
  for (const std::string& words : flags.bad_words) {
    options.generation.bad_words_ids.push_back(
        known_tokens(engine.tokenizer(), "--bad-words", words));
  }
  if (!flags.forced_prefix.empty()) {
    options.generation.forced_prefix_ids =
        known_tokens(engine.tokenizer(), "--forced-prefix", flags.forced_prefix);
  }
  return options;
}

void fill(Row& row, const std::vector<Caption>& captions) {
  row.findings["captions"] = findings::to_json(captions);
  for (const Caption& caption : captions) row.lines.push_back(caption.text);
}

int run(const CaptionFlags& flags) {
  install_stop_handler();
  const std::vector<PictureInput> inputs = flags.pictures.inputs();
  const ModelFlags& model = flags.pictures.model;
  const Captioner captioner(Engine::load(model.path(), model.options));
  const CaptionOptions options = caption_options(flags, captioner.engine());
  const bool paper = flags.preset == Preset::paper && flags.prompt_option->count() == 0;
  const std::string prompt = paper ? std::string(kPaperPrompt) : flags.prompt;
  captioner.validate(prompt, options);
  return write_rows(flags.pictures, inputs, captioner.engine(), flags.format,
                    [&](std::span<PictureRow* const> rows) {
                      std::vector<CaptionRequest> requests;
                      for (const PictureRow* row : rows) requests.push_back({row->image, prompt});
                      const auto captions =
                          captioner.caption(requests, options, flags.pictures.context());
                      for (std::size_t i = 0; i < rows.size(); ++i) fill(*rows[i], captions[i]);
                    });
}

}  // namespace

void add_caption_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand("caption", "Write a description of each picture");
  const auto flags = std::make_shared<CaptionFlags>();
  flags->pictures.add_to(*command);
  flags->prompt_option =
      command->add_option("--prompt", flags->prompt, "how the description begins");
  command->add_flag("--strip-prompt", flags->strip_prompt, "leave the prompt out of the text");
  add_format_flag(*command, flags->format);
  command
      ->add_option("--preset", flags->preset,
                   "settings to start from: the checkpoint's, or the paper's (prompt \"a picture "
                   "of \", 3 beams, 5 to 20 tokens, the authors' length normalisation)")
      ->transform(CLI::CheckedTransformer(kPresets).description("{checkpoint,paper}"))
      ->allow_extra_args(false)  // a picture named after it is no word
      ->group("Generation");
  flags->generation.add_to(*command);
  command
      ->add_option("--bad-words", flags->bad_words,
                   "words or phrases that must not appear (may be given several times)")
      ->group("Generation");
  command
      ->add_option("--forced-prefix", flags->forced_prefix,
                   "first words of the generated text, counted and scored as generated")
      ->group("Generation");
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
