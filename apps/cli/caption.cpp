#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/caption_rows.h"
#include "apps/cli/commands.h"
#include "apps/cli/flags.h"
#include "apps/cli/inputs.h"
#include "apps/cli/progress.h"
#include "apps/cli/stop.h"
#include "blip/base/error.h"
#include "blip/tasks/captioning.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip::cli {
namespace {

enum class Preset { checkpoint, paper };
const std::map<std::string, Preset> kPresets = {{"checkpoint", Preset::checkpoint},
                                                {"paper", Preset::paper}};

struct CaptionFlags {
  std::vector<std::string> paths;
  bool recursive = false;
  ModelFlags model;
  ImageFlags image;
  GenerationFlags generation;
  Preset preset = Preset::checkpoint;
  CLI::Option* prompt_option = nullptr;
  std::string prompt;
  std::vector<std::string> bad_words;
  std::string forced_prefix;
  bool strip_prompt = false;
  std::size_t batch_size = 8;
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

/// One `blip caption` after its options are settled.
class CaptionRun {
 public:
  CaptionRun(const CaptionFlags& flags, const Captioner& captioner, CaptionOptions options)
      : flags_(flags),
        captioner_(captioner),
        options_(std::move(options)),
        prompt_(flags.prompt),
        context_{flags.model.num_threads, &stop_requested()} {
    const bool paper = flags.preset == Preset::paper && flags.prompt_option->count() == 0;
    if (paper) prompt_ = kPaperPrompt;
    captioner_.validate(prompt_, options_);
  }

  /// Captions all inputs, batch by batch. Returns the exit status.
  int run(std::span<const PictureInput> inputs) {
    const bool show_paths = inputs.size() > 1 || inputs.front().name != flags_.paths.front();
    CaptionRowWriter writer(flags_.format, show_paths);
    Progress progress(inputs.size());
    try {
      while (done_ < inputs.size()) {
        const std::size_t count = std::min(flags_.batch_size, inputs.size() - done_);
        const std::vector<CaptionRow> rows = caption(inputs.subspan(done_, count), progress);
        progress.clear();
        for (const CaptionRow& row : rows) write(writer, row);
        done_ += count;
      }
    } catch (const Error& e) {
      if (e.code() == ErrorCode::cancelled) writer.finish();
      throw;
    }
    writer.finish();
    if (failed_ == 0) return 0;
    return inputs.size() == 1 ? last_status_ : 1;
  }

 private:
  /// One batch; pictures that cannot be decoded become rows with an error.
  std::vector<CaptionRow> caption(std::span<const PictureInput> inputs, Progress& progress) {
    std::vector<CaptionRow> rows;
    std::vector<CaptionRequest> requests;
    std::vector<std::size_t> row_of_request;
    for (const PictureInput& input : inputs) {
      context_.check_stop();
      CaptionRow& row = rows.emplace_back();
      row.path = input.name;
      try {
        const Image image = load_input(input, flags_.image.options);
        requests.push_back({captioner_.engine().encode({&image, 1}, context_).front(), prompt_});
        row_of_request.push_back(rows.size() - 1);
      } catch (const Error& e) {
        if (e.code() == ErrorCode::cancelled) throw;
        row.error = std::make_unique<Error>(e);
      } catch (const std::bad_alloc&) {
        row.error = std::make_unique<Error>(ErrorCode::too_large, input.name + ": out of memory");
      }
      progress.update(done_ + rows.size());
    }
    std::vector<std::vector<Caption>> captions = captioner_.caption(requests, options_, context_);
    for (std::size_t i = 0; i < captions.size(); ++i) {
      rows[row_of_request[i]].captions = std::move(captions[i]);
    }
    return rows;
  }

  void write(CaptionRowWriter& writer, const CaptionRow& row) {
    writer.write(row);
    if (!row.error) return;
    ++failed_;
    last_status_ = exit_status(row.error->code());
  }

  const CaptionFlags& flags_;
  const Captioner& captioner_;
  CaptionOptions options_;
  std::string prompt_;
  Context context_;
  std::size_t done_ = 0;
  std::size_t failed_ = 0;
  int last_status_ = 0;
};

int run(const CaptionFlags& flags) {
  install_stop_handler();
  const std::vector<PictureInput> inputs = expand_inputs(flags.paths, flags.recursive);
  const Captioner captioner(Engine::load(flags.model.path(), flags.model.options));
  return CaptionRun(flags, captioner, caption_options(flags, captioner.engine())).run(inputs);
}

}  // namespace

void add_caption_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand("caption", "Write a description of each picture");
  const auto flags = std::make_shared<CaptionFlags>();
  command
      ->add_option("PATH", flags->paths,
                   "picture files, folders of them, or - for a picture on standard input (URLs are "
                   "not fetched)")
      ->required();
  command->add_flag("-r,--recursive", flags->recursive, "read folders below the named ones too");
  flags->prompt_option =
      command->add_option("--prompt", flags->prompt, "how the description begins");
  command->add_flag("--strip-prompt", flags->strip_prompt, "leave the prompt out of the text");
  add_format_flag(*command, flags->format);
  command
      ->add_option("--batch-size", flags->batch_size, "pictures whose texts are written together")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  flags->model.add_to(*command);
  flags->image.add_to(*command);
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
