#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/feature_file.h"
#include "apps/cli/flags.h"
#include "apps/cli/picture_rows.h"
#include "apps/cli/stop.h"
#include "apps/cli/text_flags.h"
#include "apps/findings/findings.h"
#include "blip/tasks/features.h"

namespace blip::cli {
namespace {

struct EmbedFlags {
  PictureFlags pictures;
  TextFlags texts;
  bool multimodal = false;
  bool raw = false;
  bool projected = false;
  int max_length = 0;
  std::string output;
};

const char* name(FeatureKind kind) {
  if (kind == FeatureKind::raw) return "raw";
  return kind == FeatureKind::projected ? "projected" : "normalised";
}

/// One `blip embed` after its flags are read.
class EmbedRun {
 public:
  explicit EmbedRun(const EmbedFlags& flags)
      : flags_(flags), extractor_(flags.pictures.model.load()) {
    options_.max_length = flags.max_length;
    if (flags.projected) options_.kind = FeatureKind::projected;
    if (flags.raw || (flags.multimodal && !flags.projected && !extractor_.projects_pairs()))
      options_.kind = FeatureKind::raw;
    if (options_.kind != FeatureKind::raw && !extractor_.projects()) {
      throw Error(ErrorCode::unsupported,
                  "this checkpoint has no projections to a common space; take the encoders' states "
                  "with --raw");
    }
    table_.kind = name(options_.kind);
  }

  /// Returns the exit status.
  int run(std::span<const PictureInput> inputs, std::span<const std::string> texts) {
    if (!flags_.multimodal && !texts.empty()) add_texts(texts);
    for_each_batch(flags_.pictures, inputs, extractor_.engine(),
                   [&](std::span<PictureRow> rows, Progress& progress) {
                     for (const PictureRow& row : rows) add_picture(row, texts, progress);
                   });
    if (table_.rows.empty()) return inputs.size() == 1 ? last_status_ : 1;
    write_feature_file(flags_.output, table_);
    return table_.errors.empty() ? 0 : 1;
  }

 private:
  void add_texts(std::span<const std::string> texts) {
    const Features features = extractor_.text_features(texts, options_, flags_.pictures.context());
    append(features);
    for (std::size_t i = 0; i < texts.size(); ++i)
      table_.rows.push_back(
          {{"text", texts[i]}, {"truncated", static_cast<bool>(features.truncated[i])}});
  }

  void add_picture(const PictureRow& row, std::span<const std::string> texts, Progress& progress) {
    if (row.error) {
      progress.clear();
      std::fprintf(stderr, "blip: %s\n", row.error->what());
      last_status_ = exit_status(row.error->code());
      Json failed = row.subject;
      failed["error"] = findings::to_json(*row.error);
      table_.errors.push_back(std::move(failed));
      return;
    }
    const Context context = flags_.pictures.context();
    if (!flags_.multimodal) {
      append(extractor_.image_features({&row.image, 1}, options_.kind, context));
      table_.rows.push_back(row.subject);
      return;
    }
    const Features features = extractor_.multimodal_features(row.image, texts, options_, context);
    append(features);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      Json pair = row.subject;
      pair["text"] = texts[i];
      pair["truncated"] = static_cast<bool>(features.truncated[i]);
      table_.rows.push_back(std::move(pair));
    }
  }

  void append(const Features& features) {
    if (table_.width != 0 && table_.width != features.width) {
      throw Error(ErrorCode::usage, "states of pictures are " + std::to_string(features.width) +
                                        " wide and those of texts " + std::to_string(table_.width) +
                                        "; write them to two files");
    }
    table_.width = features.width;
    table_.values.insert(table_.values.end(), features.values.begin(), features.values.end());
  }

  const EmbedFlags& flags_;
  FeatureExtractor extractor_;
  FeatureOptions options_;
  FeatureTable table_;
  int last_status_ = 0;
};

int run(const EmbedFlags& flags) {
  install_stop_handler();
  check_feature_file(flags.output);
  std::vector<std::string> texts;
  if (flags.multimodal || flags.texts.given()) texts = flags.texts.read();
  if (flags.pictures.paths.empty() && (texts.empty() || flags.multimodal)) {
    throw Error(ErrorCode::usage, flags.multimodal
                                      ? "--multimodal takes pictures and texts"
                                      : "embed takes pictures, or texts by --text or --texts");
  }
  const std::vector<PictureInput> inputs = flags.pictures.inputs();
  return EmbedRun(flags).run(inputs, texts);
}

}  // namespace

void add_embed_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand(
      "embed", "Write the vectors of pictures, texts or pairs of them to a file");
  const auto flags = std::make_shared<EmbedFlags>();
  flags->pictures.add_to(*command)->required(false);
  flags->texts.add_to(*command, "text", "texts", "a text to embed");
  command
      ->add_option("-o,--output", flags->output,
                   "file to write: .npy (names of the rows in FILE.json beside it) or .safetensors "
                   "(\"features\"; names in the metadata)")
      ->required();
  command->add_flag("--multimodal", flags->multimodal,
                    "a vector for every picture with every text, from the image-grounded text "
                    "encoder");
  CLI::Option* projected =
      command->add_flag("--projected", flags->projected, "do not scale vectors to length 1");
  command
      ->add_flag("--raw", flags->raw,
                 "the encoders' states, not projected to the space of pictures and texts (pairs "
                 "have no such space: always so)")
      ->excludes(projected);
  command
      ->add_option("--max-text-length", flags->max_length,
                   "tokens that longer texts are cut to; 0: as many as the model can read")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
