#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/flags.h"
#include "apps/cli/inputs.h"
#include "apps/cli/progress.h"
#include "apps/cli/stop.h"
#include "blip/base/error.h"
#include "blip/base/json.h"
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

/// A picture's outcome: captions, or the reason why there are none.
struct Row {
  std::string path;
  std::vector<Caption> captions;
  std::unique_ptr<Error> error;
};

/// Writes rows as they come; each is whole before the next begins.
class RowWriter {
 public:
  RowWriter(Format format, bool show_paths) : format_(format), show_paths_(show_paths) {
    if (format_ == Format::json) std::fputs("[", stdout);
  }
  ~RowWriter() {
    if (format_ == Format::json) std::fputs(rows_ > 0 ? "\n]\n" : "]\n", stdout);
    std::fflush(stdout);
  }
  RowWriter(const RowWriter&) = delete;
  RowWriter& operator=(const RowWriter&) = delete;

  void write(const Row& row) {
    if (row.error) std::fprintf(stderr, "blip: %s\n", row.error->what());
    if (format_ == Format::text) {
      for (const Caption& caption : row.captions) {
        if (show_paths_) std::printf("%s\t", row.path.c_str());
        std::printf("%s\n", caption.text.c_str());
      }
    } else {
      const std::string text = to_json(row).dump(-1, ' ', false, Json::error_handler_t::replace);
      const char* separator = format_ == Format::json ? (rows_ > 0 ? ",\n" : "\n") : "";
      std::printf("%s%s%s", separator, text.c_str(), format_ == Format::jsonl ? "\n" : "");
    }
    ++rows_;
    if (std::fflush(stdout) != 0) throw Error(ErrorCode::io, "cannot write to standard output");
  }

 private:
  static Json to_json(const Row& row) {
    Json json = {{"path", row.path}};
    if (row.error) {
      json["error"] = {{"code", name(row.error->code())}, {"message", row.error->what()}};
      return json;
    }
    json["captions"] = Json::array();
    for (const Caption& caption : row.captions) {
      Json tokens = Json::array();
      for (const CaptionToken& token : caption.tokens) {
        tokens.push_back({{"id", token.id}, {"token", token.text}, {"logprob", token.logprob}});
      }
      json["captions"].push_back({{"text", caption.text},
                                  {"score", caption.score},
                                  {"finished", caption.finished},
                                  {"tokens", std::move(tokens)}});
    }
    return json;
  }

  Format format_;
  bool show_paths_;
  std::size_t rows_ = 0;
};

CaptionOptions caption_options(const CaptionFlags& flags, const Engine& engine) {
  CaptionOptions options;
  options.generation = engine.default_generation();
  if (flags.preset == Preset::paper) options = paper_caption_options();
  flags.generation.apply_to(options.generation);
  flags.generation.check(options.generation);
  options.strip_prompt = options.strip_prompt || flags.strip_prompt;
  for (const std::string& words : flags.bad_words) {
    std::vector<int> ids = engine.tokenizer().encode_plain(words);
    if (ids.empty())
      throw Error(ErrorCode::usage, "--bad-words " + in_quotes(words) + " has no tokens");
    options.generation.bad_words_ids.push_back(std::move(ids));
  }
  options.generation.forced_prefix_ids = engine.tokenizer().encode_plain(flags.forced_prefix);
  validate(options.generation);
  return options;
}

/// Captions one batch; pictures that cannot be decoded become rows with an error.
std::vector<Row> caption_batch(const Captioner& captioner, std::span<const PictureInput> inputs,
                               const CaptionFlags& flags, const CaptionOptions& options,
                               const Context& context) {
  std::vector<Row> rows;
  std::vector<CaptionRequest> requests;
  std::vector<std::size_t> row_of_request;
  const bool paper = flags.preset == Preset::paper && flags.prompt_option->count() == 0;
  const std::string prompt = paper ? std::string(kPaperPrompt) : flags.prompt;
  for (const PictureInput& input : inputs) {
    context.check_stop();
    Row& row = rows.emplace_back();
    row.path = input.name;
    try {
      const Image image = load_input(input, flags.image.options);
      requests.push_back({captioner.engine().encode({&image, 1}, context).front(), prompt});
      row_of_request.push_back(rows.size() - 1);
    } catch (const Error& e) {
      if (e.code() == ErrorCode::cancelled) throw;
      row.error = std::make_unique<Error>(e);
    }
  }
  std::vector<std::vector<Caption>> captions = captioner.caption(requests, options, context);
  for (std::size_t i = 0; i < captions.size(); ++i)
    rows[row_of_request[i]].captions = std::move(captions[i]);
  return rows;
}

int run(const CaptionFlags& flags) {
  const std::vector<PictureInput> inputs = expand_inputs(flags.paths, flags.recursive);
  const Captioner captioner(Engine::load(flags.model.path(), flags.model.options));
  const CaptionOptions options = caption_options(flags, captioner.engine());
  const Context context{flags.model.num_threads, &stop_requested()};

  const bool show_paths = inputs.size() > 1 || inputs.front().name != flags.paths.front();
  RowWriter writer(flags.format, show_paths);
  Progress progress(inputs.size());
  std::size_t failed = 0;
  int last_status = 0;
  for (std::size_t first = 0; first < inputs.size(); first += flags.batch_size) {
    const std::size_t count = std::min(flags.batch_size, inputs.size() - first);
    const std::vector<Row> rows =
        caption_batch(captioner, std::span(inputs).subspan(first, count), flags, options, context);
    progress.clear();
    for (const Row& row : rows) {
      writer.write(row);
      if (!row.error) continue;
      ++failed;
      last_status = exit_status(row.error->code());
    }
    progress.update(first + count);
  }
  if (failed == 0) return 0;
  return inputs.size() == 1 ? last_status : 1;
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
