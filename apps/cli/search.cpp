#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/flags.h"
#include "apps/cli/index_model.h"
#include "apps/cli/inputs.h"
#include "apps/cli/progress.h"
#include "apps/cli/rows.h"
#include "apps/cli/stop.h"
#include "apps/findings/findings.h"
#include "blip/tasks/retrieval.h"

namespace blip::cli {
namespace {

const std::map<std::string, FirstToken> kItmTokens = {{"cls", FirstToken::cls},
                                                      {"enc", FirstToken::enc}};

struct SearchFlags {
  std::string index;
  std::vector<std::string> texts;
  std::vector<std::string> images;
  RetrievalOptions options;
  std::int64_t max_pixels = ImageOptions().max_pixels;
  ModelFlags model;
  Format format = Format::text;
};

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4f", value);
  return text;
}

/// Text: score and name; after re-ranking also ITC's similarity and ITM's probability.
void fill(Row& row, const std::vector<Found>& found, IndexContent content) {
  const char* const key = content == IndexContent::texts ? "text" : "path";
  Json results = Json::array();
  for (const Found& one : found) {
    std::string line = number(one.score) + "\t" + one.name;
    if (one.error) line += "\t(not re-ranked)";
    results.push_back(findings::to_json(one, key));
    row.lines.push_back(std::move(line));
  }
  row.findings["results"] = std::move(results);
}

/// One `blip search` with its index and model open.
class SearchRun {
 public:
  SearchRun(const SearchFlags& flags, const Retriever& retriever)
      : flags_(flags),
        retriever_(retriever),
        context_{flags.model.options.num_threads, &stop_requested()},
        writer_(flags.format, flags.texts.size() + flags.images.size() > 1) {}

  /// Returns the exit status.
  int run() {
    try {
      for (const std::string& text : flags_.texts) {
        write({{"text", text}}, text, [&](const RetrievalOptions& options) {
          return retriever_.find(text, options, context_);
        });
      }
      for (const PictureInput& input : expand_inputs(flags_.images, false)) {
        write({{"path", input.name}}, input.name, [&](const RetrievalOptions& options) {
          ImageOptions image_options = image_options_of(retriever_.index().manifest());
          image_options.max_pixels = flags_.max_pixels;
          const Image image = load_input(input, image_options);
          const EncodedImage encoded = retriever_.engine().encode({&image, 1}, context_).front();
          return retriever_.find(encoded, options, context_);
        });
      }
    } catch (const Error& e) {
      if (e.code() == ErrorCode::cancelled) writer_.finish();
      throw;
    }
    writer_.finish();
    return std::max(writer_.status(), not_judged_ ? 1 : 0);
  }

 private:
  template <class Find>
  void write(Json subject, const std::string& label, Find find) {
    Row row;
    row.subject = std::move(subject);
    row.label = label;
    Progress progress(flags_.options.rerank);
    RetrievalOptions options = flags_.options;
    options.progress = [&](std::size_t done, std::size_t) { progress.update(done); };
    try {
      const SearchResults results = find(options);
      progress.clear();
      for (const Found& one : results.found) {
        if (!one.error) continue;
        std::fprintf(stderr, "blip: %s\n", one.error->what());
        not_judged_ = true;
      }
      if (row.subject.contains("text")) row.findings["truncated"] = results.truncated;
      fill(row, results.found, retriever_.index().manifest().settings.content);
    } catch (const Error& e) {
      if (e.code() == ErrorCode::cancelled) throw;
      row.error = std::make_unique<Error>(e);
    }
    writer_.write(row);
  }

  const SearchFlags& flags_;
  const Retriever& retriever_;
  Context context_;
  RowWriter writer_;
  bool not_judged_ = false;
};

int run(const SearchFlags& flags) {
  install_stop_handler();
  if (flags.texts.empty() && flags.images.empty()) {
    throw Error(ErrorCode::usage, "search takes a text, or a picture by --image");
  }
  VectorIndex index = VectorIndex::open(flags.index);
  Engine engine = load_engine_for(index.manifest(), flags.model);
  const Retriever retriever(std::move(engine), std::move(index));
  return SearchRun(flags, retriever).run();
}

}  // namespace

void add_search_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand(
      "search", "Find the pictures or texts of an index that are nearest to a text or a picture");
  const auto flags = std::make_shared<SearchFlags>();
  RetrievalOptions& options = flags->options;
  command->add_option("INDEX", flags->index, "folder of the index (see blip index)")->required();
  command->add_option("TEXT", flags->texts, "what to look for");
  command
      ->add_option("--image", flags->images,
                   "picture to look for, or - for standard input (may be given several times)")
      ->allow_extra_args(false);
  command->add_option("-k", options.k, "results wanted")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  command
      ->add_option("--rerank", options.rerank,
                   "how many of the nearest are judged again by ITM, which is exact and slow: "
                   "pictures are read and encoded for it")
      ->capture_default_str()
      ->check(CLI::Range(0, 100000));
  command
      ->add_option("--effort", options.effort,
                   "how much is looked at: candidates of hnsw, lists of ivf (default: as measured "
                   "when the index was made, to find 99 % of the nearest)")
      ->check(CLI::PositiveNumber);
  command
      ->add_option(
          "--itm-token", options.itm_token,
          "what stands before a text for ITM: enc as in the authors' evaluation (default), "
          "or cls as transformers has it")
      ->transform(CLI::CheckedTransformer(kItmTokens).description("{enc,cls}"));
  command
      ->add_option("--max-text-length", options.max_length,
                   "tokens that longer texts are cut to; 0: as many as the model can read")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--max-pixels", flags->max_pixels, "refuse larger pictures before decoding them")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  add_format_flag(*command, flags->format);
  add_model_flags_for_index(*command, flags->model);
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
