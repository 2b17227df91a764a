#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/flags.h"
#include "apps/cli/index_model.h"
#include "apps/cli/picture_rows.h"
#include "apps/cli/stop.h"
#include "apps/cli/text_flags.h"
#include "apps/findings/findings.h"
#include "blip/index/writer.h"
#include "blip/tasks/features.h"
#include "blip/tasks/retrieval.h"

namespace blip::cli {
namespace {

const std::map<std::string, IndexKind> kKinds = {
    {"flat", IndexKind::flat}, {"hnsw", IndexKind::hnsw}, {"ivf", IndexKind::ivf}};

constexpr std::size_t kTextsTogether = 1024;

/// What goes into an index, for build and add.
struct IndexInput {
  PictureFlags pictures;
  TextFlags texts;
  std::string index;
  Format format = Format::text;

  /// Throws Error{usage} unless there are pictures or texts, but not both.
  IndexContent content() const {
    if (pictures.paths.empty() != texts.given()) {
      throw Error(ErrorCode::usage,
                  "an index takes either pictures, or texts by --text or --texts");
    }
    return texts.given() ? IndexContent::texts : IndexContent::images;
  }
};

/// Fills an index and reports what became of the input.
class IndexRun {
 public:
  IndexRun(const IndexInput& input, const Engine& engine, IndexWriter writer)
      : input_(input),
        extractor_(engine),
        writer_(std::move(writer)),
        context_(input.pictures.context()) {}

  /// Returns the exit status.
  int run() {
    const IndexManifest& before = writer_.manifest();
    if (before.settings.content == IndexContent::texts) {
      add_texts(input_.texts.read(), max_length_of(before));
    } else {
      add_pictures();
    }
    Progress progress(writer_.rows());
    const IndexManifest after =
        writer_.commit(context_, [&](std::size_t done, std::size_t) { progress.update(done); });
    progress.clear();
    report(after);
    return errors_.empty() ? 0 : 1;
  }

 private:
  void add_pictures() {
    std::vector<PictureInput> fresh;
    std::vector<IndexEntry> entries;
    for (const PictureInput& picture : input_.pictures.inputs()) {
      context_.check_stop();
      if (picture.path.empty()) {
        throw Error(ErrorCode::usage, "an index holds picture files; standard input is none");
      }
      try {
        IndexEntry entry = picture_entry(picture.path);
        if (writer_.has(entry)) {
          ++unchanged_;
          continue;
        }
        entries.push_back(std::move(entry));
        fresh.push_back(picture);
      } catch (const Error& e) {
        fail({{"path", picture.name}}, e);
      }
    }
    std::size_t next = 0;
    for_each_batch(
        input_.pictures, fresh, extractor_.engine(),
        [&](std::span<PictureRow> rows, Progress& progress) {
          for (const PictureRow& row : rows) {
            const IndexEntry& entry = entries[next++];
            if (row.error) {
              progress.clear();
              fail(row.subject, *row.error);
              continue;
            }
            append(entry,
                   extractor_.image_features({&row.image, 1}, FeatureKind::normalised, context_)
                       .values);
          }
        });
  }

  void add_texts(const std::vector<std::string>& texts, int max_length) {
    FeatureOptions options;
    options.max_length = max_length;
    std::vector<std::string> fresh;
    for (const std::string& text : texts) {
      if (writer_.has(text_entry(text))) {
        ++unchanged_;
      } else {
        fresh.push_back(text);
      }
    }
    for (std::size_t begin = 0; begin < fresh.size(); begin += kTextsTogether) {
      const auto batch =
          std::span(fresh).subspan(begin, std::min(kTextsTogether, fresh.size() - begin));
      const Features features = extractor_.text_features(batch, options, context_);
      for (std::size_t i = 0; i < batch.size(); ++i) {
        append(text_entry(batch[i]),
               std::span(features.values).subspan(i * features.width, features.width));
        if (features.truncated[i]) ++truncated_;
      }
    }
  }

  /// The same picture or text named twice goes in once.
  void append(const IndexEntry& entry, std::span<const float> vector) {
    if (writer_.has(entry)) {
      ++unchanged_;
      return;
    }
    writer_.append(entry, vector);
    ++added_;
  }

  void fail(Json subject, const Error& error) {
    std::fprintf(stderr, "blip: %s\n", error.what());
    subject["error"] = findings::to_json(error);
    errors_.push_back(std::move(subject));
  }

  void report(const IndexManifest& after) const {
    if (input_.format == Format::text) {
      std::printf("%zu added, %zu unchanged, %zu failed; %s holds %zu %s\n", added_, unchanged_,
                  errors_.size(), input_.index.c_str(), after.live(),
                  std::string(name(after.settings.content)).c_str());
      if (truncated_ > 0) std::printf("%zu texts were cut to the greatest length\n", truncated_);
      return;
    }
    const Json json = {
        {"index", input_.index},   {"added", added_},         {"recovered", writer_.recovered()},
        {"unchanged", unchanged_}, {"truncated", truncated_}, {"errors", errors_},
        {"count", after.live()}};
    std::printf("%s\n", dump(json).c_str());
  }

  const IndexInput& input_;
  FeatureExtractor extractor_;
  IndexWriter writer_;
  Context context_;
  std::size_t added_ = 0;
  std::size_t unchanged_ = 0;
  std::size_t truncated_ = 0;  // texts
  Json errors_ = Json::array();
};

struct BuildFlags : IndexInput {
  IndexKind kind = IndexKind::hnsw;
  int max_length = 35;
};

int build(const BuildFlags& flags) {
  install_stop_handler();
  const IndexContent content = flags.content();
  const ModelFlags& model = flags.pictures.model;
  const ModelSource source{model.path(), model.options};
  const Engine engine = load_engine(source.path, source.options);
  IndexSettings settings = content == IndexContent::texts
                               ? text_index_settings(engine, flags.max_length)
                               : image_index_settings(engine, flags.pictures.image.options);
  settings.kind = flags.kind;
  settings.opened_with = to_json(source);
  return IndexRun(flags, engine, IndexWriter::create(flags.index, settings)).run();
}

int add(IndexInput flags) {
  install_stop_handler();
  const IndexContent content = flags.content();
  const IndexManifest manifest = read_manifest(flags.index);
  const Engine engine = load_engine_for(manifest, flags.pictures.model);
  flags.pictures.image.options = image_options_of(manifest);
  const IndexSettings settings = content == IndexContent::texts
                                     ? text_index_settings(engine, max_length_of(manifest))
                                     : image_index_settings(engine, flags.pictures.image.options);
  return IndexRun(flags, engine, IndexWriter::open(flags.index, settings)).run();
}

struct InfoFlags {
  std::string index;
  bool verify = false;
  Format format = Format::text;
};

/// What a search looks at first.
std::string_view searched_by(const IndexManifest& manifest) {
  if (manifest.settings.kind == IndexKind::flat || manifest.effort >= kExhaustiveEffort) {
    return "vectors";
  }
  if (manifest.settings.kind == IndexKind::ivf) return "lists";
  return manifest.sketches ? "sketches" : "graph";
}

void info(const InfoFlags& flags) {
  install_stop_handler();
  const IndexManifest manifest = read_manifest(flags.index);
  if (flags.verify) VectorIndex::open(flags.index).verify({0, &stop_requested()});
  const IndexSettings& settings = manifest.settings;
  const bool exact = searched_by(manifest) == "vectors";
  const Json json = {{"index", flags.index},
                     {"kind", name(settings.kind)},
                     {"content", name(settings.content)},
                     {"count", manifest.live()},
                     {"removed", manifest.removed_count},
                     {"width", settings.width},
                     {"finished", manifest.generation > 0},
                     {"searched_by", searched_by(manifest)},
                     {"effort", exact ? Json() : Json(manifest.effort)},
                     {"recall_at_10", manifest.recall},
                     {"model", settings.model},
                     {"opened_with", settings.opened_with},
                     {"preprocessing", settings.preprocessing}};
  if (flags.format != Format::text) {
    std::printf("%s\n", dump(json, flags.format == Format::json ? 2 : -1).c_str());
    return;
  }
  for (const auto& [key, value] : json.items()) {
    std::printf("%-14s %s\n", key.c_str(),
                value.is_string()
                    ? in_quotes(value.get<std::string>()).c_str()
                    : value.dump(-1, ' ', true, Json::error_handler_t::replace).c_str());
  }
  if (flags.verify) std::printf("every row matches its checksum\n");
}

/// PATH and the texts, common to build and add.
void add_input(CLI::App& command, IndexInput& input) {
  command.add_option("PATH", input.pictures.paths,
                     "picture files, or folders of them (URLs are not fetched)");
  command.add_flag("-r,--recursive", input.pictures.recursive,
                   "read folders below the named ones too");
  input.texts.add_to(command, "text", "texts", "a text to index, instead of pictures");
  input.pictures.batch_size = 1;  // nothing is gained by more, and less is lost
  add_format_flag(command, input.format);
}

void add_build_command(CLI::App& index, int& status) {
  CLI::App* command = index.add_subcommand(
      "build", "Make a new index of pictures or texts; goes on with one that was interrupted");
  const auto flags = std::make_shared<BuildFlags>();
  add_input(*command, *flags);
  command->add_option("-o,--output", flags->index, "folder to make")->required();
  command
      ->add_option("--kind", flags->kind,
                   "how neighbours are found: flat looks at all (exact), hnsw walks a graph "
                   "(default), ivf looks at a part")
      ->transform(CLI::CheckedTransformer(kKinds).description("{flat,hnsw,ivf}"));
  command
      ->add_option("--max-text-length", flags->max_length,
                   "tokens that longer texts are cut to; 0: as many as the model can read")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  flags->pictures.model.add_to(*command);
  flags->pictures.image.add_to(*command);
  command->callback([flags, &status] { status = build(*flags); });
}

void add_add_command(CLI::App& index, int& status) {
  CLI::App* command = index.add_subcommand(
      "add",
      "Add pictures or texts to an index: what it has unchanged is skipped, what changed is "
      "replaced");
  const auto flags = std::make_shared<IndexInput>();
  command->add_option("INDEX", flags->index, "folder of the index")->required();
  add_input(*command, *flags);
  add_model_flags_for_index(*command, flags->pictures.model);
  command->callback([flags, &status] { status = add(*flags); });
}

void add_info_command(CLI::App& index) {
  CLI::App* command = index.add_subcommand("info", "Show what an index holds");
  const auto flags = std::make_shared<InfoFlags>();
  command->add_option("INDEX", flags->index, "folder of the index")->required();
  command->add_flag("--verify", flags->verify, "compare everything in it with its checksums");
  add_format_flag(*command, flags->format);
  command->callback([flags] { info(*flags); });
}

}  // namespace

void add_index_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand(
      "index", "Make an index of pictures or texts, let it grow, look at it (see blip search)");
  command->require_subcommand(1);
  add_build_command(*command, status);
  add_add_command(*command, status);
  add_info_command(*command);
}

}  // namespace blip::cli
