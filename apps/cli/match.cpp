#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/flags.h"
#include "apps/cli/picture_rows.h"
#include "apps/cli/stop.h"
#include "apps/cli/text_flags.h"
#include "apps/findings/findings.h"
#include "blip/tasks/matching.h"

namespace blip::cli {
namespace {

const std::map<std::string, FirstToken> kItmTokens = {{"cls", FirstToken::cls},
                                                      {"enc", FirstToken::enc}};

struct MatchFlags {
  PictureFlags pictures;
  TextFlags texts;
  MatchOptions options;
  std::string only;
  Format format = Format::text;
};

/// Text: the text where there are several, then the scores that were asked for.
void fill(Row& row, std::span<const std::string> texts, std::span<const MatchText> encoded,
          std::span<const Match> matches) {
  Json all = Json::array();
  for (std::size_t i = 0; i < texts.size(); ++i) {
    std::string line = texts.size() > 1 ? texts[i] + "\t" : "";
    char number[32];
    if (!encoded[i].itm_ids.empty()) {
      std::snprintf(number, sizeof number, "%.4f", matches[i].itm_probability);
      line += number;
    }
    if (!encoded[i].text_feat.empty()) {
      std::snprintf(number, sizeof number, "%s%.4f", encoded[i].itm_ids.empty() ? "" : "\t",
                    matches[i].itc_similarity);
      line += number;
    }
    all.push_back(findings::to_json(texts[i], encoded[i], matches[i]));
    row.lines.push_back(std::move(line));
  }
  row.findings["matches"] = std::move(all);
}

int run(const MatchFlags& flags) {
  install_stop_handler();
  const std::vector<std::string> texts = flags.texts.read();
  const std::vector<PictureInput> inputs = flags.pictures.inputs();
  const ModelFlags& model = flags.pictures.model;
  MatchOptions options = flags.options;
  options.itm = flags.only != "itc";
  options.itc = flags.only != "itm";
  const Matcher matcher(model.load());
  const Context context = flags.pictures.context();
  const std::vector<MatchText> encoded = matcher.encode(texts, options, context);
  return write_rows(flags.pictures, inputs, matcher.engine(), flags.format,
                    [&](std::span<PictureRow* const> rows) {
                      for (PictureRow* row : rows)
                        fill(*row, texts, encoded, matcher.match(row->image, encoded, context));
                    });
}

}  // namespace

void add_match_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand(
      "match",
      "Tell how well texts describe each picture: probability of a match (ITM) and "
      "similarity (ITC)");
  const auto flags = std::make_shared<MatchFlags>();
  flags->pictures.add_to(*command);
  flags->texts.add_to(*command, "text", "texts", "what to compare the pictures with");
  command
      ->add_option("--only", flags->only,
                   "compute one score: itm (the exact one), or itc (much faster with many texts)")
      ->check(CLI::IsMember({"itm", "itc"}));
  command
      ->add_option(
          "--itm-token", flags->options.itm_token,
          "what stands before a text for ITM: enc as in the authors' evaluation (default), "
          "or cls as transformers has it")
      ->transform(CLI::CheckedTransformer(kItmTokens).description("{enc,cls}"));
  command
      ->add_option("--max-text-length", flags->options.max_length,
                   "tokens that longer texts are cut to; 0: as many as the model can read")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  add_format_flag(*command, flags->format);
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
