#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/caption_files.h"
#include "apps/cli/caption_ranking.h"
#include "apps/cli/caption_store.h"
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
  RankingFlags ranking;
  CaptionFileFlags files;
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

/// Nucleus sampling, unless the way to several captions was chosen.
void ask_for_several(const CaptionFlags& flags, GenerationConfig& generation) {
  generation.num_return_sequences = flags.ranking.captions;
  if (flags.generation.given("do_sample") || flags.generation.given("num_beams")) return;
  generation.num_beams = 1;
  generation.do_sample = true;
  generation.top_p = 0.9;
}

CaptionOptions caption_options(const CaptionFlags& flags, const Engine& engine) {
  CaptionOptions options;
  options.generation = engine.default_generation();
  if (flags.preset == Preset::paper) options = paper_caption_options();
  if (flags.ranking.captions > 0) ask_for_several(flags, options.generation);
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

/// The model with everything that a run asks of it.
class PictureCaptioner {
 public:
  /// Sets flags.pictures.second.
  explicit PictureCaptioner(CaptionFlags& flags)
      : flags_(flags),
        captioner_(flags.pictures.model.load()),
        options_(caption_options(flags, captioner_.engine())),
        prompt_(flags.prompt) {
    if (flags.preset == Preset::paper && flags.prompt_option->count() == 0) prompt_ = kPaperPrompt;
    captioner_.validate(prompt_, options_);
    if (!flags.ranking.given()) return;
    if (!flags.ranking.model.empty()) {
      flags.pictures.second =
          load_engine(flags.ranking.model, flags.pictures.model.second_options());
    }
    ranker_.emplace(flags.pictures.second.value_or(captioner_.engine()), flags.ranking);
  }

  void caption(std::span<PictureRow* const> rows) const {
    const Context context = flags_.pictures.context();
    std::vector<CaptionRequest> requests;
    for (const PictureRow* row : rows) requests.push_back({row->image, prompt_});
    auto captions = captioner_.caption(requests, options_, context);
    for (std::size_t i = 0; i < rows.size(); ++i) fill(*rows[i], std::move(captions[i]), context);
  }

  const Engine& engine() const { return captioner_.engine(); }

 private:
  void fill(PictureRow& row, std::vector<Caption> captions, const Context& context) const {
    if (!ranker_) {
      row.findings["captions"] = findings::to_json(captions);
      for (const Caption& caption : captions) row.lines.push_back(caption.text);
      return;
    }
    const EncodedImage& image = flags_.pictures.second ? row.second_image : row.image;
    Json& all = row.findings["captions"] = Json::array();
    for (const RankedCaption& one : ranker_->rank(image, std::move(captions), context)) {
      all.push_back(findings::to_json(std::span(&one.caption, 1)).front());
      all.back()[ranker_->key()] = one.score;
      if (row.lines.empty()) row.lines.push_back(one.caption.text);
    }
  }

  const CaptionFlags& flags_;
  Captioner captioner_;
  CaptionOptions options_;
  std::string prompt_;
  std::optional<CaptionRanker> ranker_;
};

int write_files(CaptionFlags& flags) {
  CaptionFiles files(flags.files, flags.format);
  // Before the model is loaded: a run that goes on may have nothing to do.
  const std::vector<PictureInput> wanted = files.wanted(flags.pictures.inputs());
  if (!wanted.empty()) {
    const PictureCaptioner captioner(flags);
    files.write(flags.pictures, wanted, captioner.engine(),
                [&](std::span<PictureRow* const> rows) { captioner.caption(rows); });
  }
  return files.finish();
}

int run(CaptionFlags& flags) {
  install_stop_handler();
  const bool several = flags.ranking.captions > 1 || flags.generation.given("num_return_sequences");
  flags.files.check(several && !flags.ranking.given());
  if (flags.files.given()) return write_files(flags);
  const std::vector<PictureInput> inputs = flags.pictures.inputs();
  const PictureCaptioner captioner(flags);
  return write_rows(flags.pictures, inputs, captioner.engine(), flags.format,
                    [&](std::span<PictureRow* const> rows) { captioner.caption(rows); });
}

}  // namespace

void add_caption_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand("caption", "Write a description of each picture");
  command->footer(
      "Options of kohya-ss/sd-scripts' make_captions.py, such as --caption_extension, are taken "
      "too.");
  const auto flags = std::make_shared<CaptionFlags>();
  flags->pictures.add_to(*command);
  flags->prompt_option =
      command->add_option("--prompt", flags->prompt, "how the description begins");
  command->add_flag("--strip-prompt", flags->strip_prompt, "leave the prompt out of the text");
  add_format_flag(*command, flags->format);
  flags->files.add_to(*command);
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
  flags->ranking.add_to(*command);
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
