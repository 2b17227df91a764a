#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/comparison_report.h"
#include "apps/cli/flags.h"
#include "apps/cli/inputs.h"
#include "apps/cli/progress.h"
#include "apps/cli/stop.h"
#include "blip/base/error.h"
#include "blip/dataset/caption_dataset.h"
#include "blip/metrics/cider.h"
#include "blip/metrics/ptb_tokenizer.h"

namespace blip::cli {

Json to_json(const ComparisonSummary& s) {
  Json json = {{"pictures", s.pictures}, {"cosine", s.cosine}, {"least_cosine", s.least_cosine}};
  const auto add = [&](const std::string& name, const auto& difference) {
    if (!difference) return;
    json[name] = difference->mean;
    json["largest_" + name] = difference->largest;
  };
  add("divergence", s.divergence);
  if (s.divergence) json[s.answers ? "identical_answers" : "identical_captions"] = s.identical;
  add("itm_change", s.itm);
  add("itc_change", s.itc);
  json["measured"] = s.measured();
  json["passes"] = s.passes();
  return json;
}

void print_summary(const ComparisonSummary& s) {
  std::printf("pictures                    %zu\n", s.pictures);
  std::printf("cosine of image_embeds      %.6f (least of a token %.6f)\n", s.cosine,
              s.least_cosine);
  const auto print = [](const char* name, const char* unit, const auto& difference) {
    if (!difference) return;
    std::printf("%-27s %.6f%s (largest %.6f)\n", name, difference->mean, unit, difference->largest);
  };
  print("divergence of next tokens", " nats", s.divergence);
  if (s.divergence) {
    std::printf("identical %-17s %.1f %%\n", s.answers ? "answers" : "captions", 100 * s.identical);
  }
  print("change of ITM probability", " at one half", s.itm);
  print("change of ITC similarity", "", s.itc);
  std::printf("accuracy gate               %s (%s)\n", s.passes() ? "passed" : "NOT passed",
              s.measured().c_str());
}

namespace {

struct CompareFlags {
  std::vector<std::string> paths;
  bool recursive = false;
  ModelFlags model;
  std::string against_model;
  Precision against = Precision::f32;
  ImageFlags image;
  GenerationFlags generation;
  std::string prompt;
  std::string references;
  Format format = Format::text;
};

/// What people said of pictures, found by the names of their files.
class References {
 public:
  explicit References(const std::string& file)
      : images_(read_captions(file, "", MissingId::numbered)) {
    for (const CaptionedImage& image : images_) {
      by_name_.emplace(std::filesystem::path(image.file).filename().string(), &image);
    }
  }

  /// null where nothing is said. Of pictures that share a name, the one whose path ends alike.
  const std::vector<std::string>* find(const std::filesystem::path& picture) const {
    const auto [begin, end] = by_name_.equal_range(picture.filename().string());
    if (begin == end) return nullptr;
    if (std::next(begin) == end) return said(*begin->second);
    const auto found = std::find_if(begin, end, [&](const auto& entry) {
      const std::string file = "/" + entry.second->file;
      return ("/" + picture.generic_string()).ends_with(file);
    });
    return found == end ? nullptr : said(*found->second);
  }

  /// Of all pictures of the file, so that few that are compared are weighed as well.
  DocumentFrequencies frequencies(const PtbTokenizer& tokenizer) const {
    DocumentFrequencies frequencies;
    for (const CaptionedImage& image : images_) {
      frequencies.add(tokenizer.tokenize(image.captions));
    }
    return frequencies;
  }

 private:
  static const std::vector<std::string>* said(const CaptionedImage& image) {
    return image.captions.empty() ? nullptr : &image.captions;
  }

  std::vector<CaptionedImage> images_;
  std::multimap<std::string, const CaptionedImage*> by_name_;
};

struct Compared {
  std::vector<PictureComparison> results;
  std::vector<const std::vector<std::string>*> said;  ///< of each picture; null: nothing
  Json rows = Json::array();
  bool failed = false;  ///< a picture was left out

  bool says_nothing() const {
    return std::all_of(said.begin(), said.end(),
                       [](const auto* texts) { return texts == nullptr; });
  }
};

/// CIDEr of the two captions of each picture that has references, in the scale of `blip eval`.
struct CiderChange {
  std::size_t pictures = 0;
  double wanted = 0;
  double got = 0;
};

Json cider_json(const CiderChange& c) {
  return {
      {"pictures", c.pictures}, {"wanted", c.wanted}, {"got", c.got}, {"change", c.got - c.wanted}};
}

CiderChange cider_change(const References& references, const Compared& compared) {
  const PtbTokenizer tokenizer;
  std::vector<CaptionSample> wanted, got;
  for (std::size_t i = 0; i < compared.results.size(); ++i) {
    if (compared.said[i] == nullptr) continue;
    const TextComparison& caption = compared.results[i].texts.front();
    const auto texts = tokenizer.tokenize(std::vector{caption.wanted, caption.text});
    wanted.push_back({texts[0], tokenizer.tokenize(*compared.said[i])});
    got.push_back({texts[1], wanted.back().references});
  }
  const DocumentFrequencies frequencies = references.frequencies(tokenizer);
  return {wanted.size(), 100 * cider_d(wanted, frequencies).score,
          100 * cider_d(got, frequencies).score};
}

Json text_json(const TextComparison& text) {
  Json json = {{"divergence", text.divergence},
               {"largest_divergence", text.largest_divergence},
               {"wanted", text.wanted},
               {"text", text.text}};
  if (!text.question.empty()) json["question"] = text.question;
  return json;
}

Json row_of(const std::string& path, const PictureComparison& one) {
  Json row = {{"path", path}, {"cosine", one.cosine}, {"least_cosine", one.least_cosine}};
  for (const TextComparison& text : one.texts) {
    if (text.question.empty()) {
      row.update(text_json(text));
    } else {
      row["answers"].push_back(text_json(text));
    }
  }
  return row;
}

EngineComparison comparison_for(const CompareFlags& flags) {
  EngineOptions against = flags.model.options;
  against.precision = flags.against;
  const std::filesystem::path model = flags.model.path();
  const Engine reference = load_engine(
      flags.against_model.empty() ? model : std::filesystem::path(flags.against_model), against);
  CaptionOptions options;
  options.generation = reference.default_generation();
  flags.generation.apply_to(options.generation);
  return {reference, load_engine(model, flags.model.options), flags.prompt, options};
}

Compared compare(const CompareFlags& flags, const EngineComparison& comparison,
                 const std::optional<References>& references) {
  const Context context{flags.model.options.num_threads, &stop_requested()};
  const std::vector<PictureInput> inputs = expand_inputs(flags.paths, flags.recursive);
  Compared compared;
  Progress progress(inputs.size());
  for (const PictureInput& input : inputs) {
    try {
      const auto* said = references ? references->find(input.path) : nullptr;
      compared.results.push_back(comparison.compare(
          load_input(input, flags.image.options),
          said == nullptr ? std::span<const std::string>() : std::span(*said), context));
      compared.said.push_back(said);
      compared.rows.push_back(row_of(input.name, compared.results.back()));
    } catch (const Error& e) {
      if (e.code() == ErrorCode::cancelled) throw;
      progress.clear();
      std::fprintf(stderr, "blip: %s\n", e.what());
      compared.failed = true;
    }
    progress.update(compared.results.size());
  }
  progress.clear();
  if (references && compared.says_nothing()) {
    throw Error(ErrorCode::usage, "--references says nothing of any of these pictures");
  }
  return compared;
}

void print(const Compared& compared, const ComparisonSummary& summary,
           const std::optional<CiderChange>& cider) {
  for (const PictureComparison& one : compared.results) {
    for (const TextComparison& text : one.texts) {
      if (text.text == text.wanted) continue;
      const char* colon = text.question.empty() ? "" : ": ";
      std::printf("differs: %s%s%s | %s\n", text.question.c_str(), colon, text.wanted.c_str(),
                  text.text.c_str());
    }
  }
  if (cider) {
    std::printf("CIDEr                       %.2f, was %.2f (%+.2f; %zu pictures)\n", cider->got,
                cider->wanted, cider->got - cider->wanted, cider->pictures);
  }
  print_summary(summary);
}

bool names_checkpoint(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  std::error_code ignored;
  return extension == ".pth" || extension == ".pt" || extension == ".bin" ||
         extension == ".safetensors" || std::filesystem::exists(path / "config.json", ignored);
}

/// `blip compare MODEL PICTURES`, as convert and quantize name theirs. It goes before BLIP_MODEL.
void take_model_from_paths(CompareFlags& flags) {
  const std::string first = flags.paths.front();
  if (!names_checkpoint(first)) return;
  const char* usual = std::getenv("BLIP_MODEL");
  if (!flags.model.model.empty() && (usual == nullptr || flags.model.model != usual)) {
    throw Error(ErrorCode::usage,
                "the model is named twice: " + flags.model.model + " and " + first);
  }
  if (flags.paths.size() == 1) {
    throw Error(ErrorCode::usage, "no pictures are named beside the model " + first);
  }
  flags.model.model = first;
  flags.paths.erase(flags.paths.begin());
}

/// Exit status 0 when the gate is passed, else 1.
int run(const CompareFlags& flags) {
  install_stop_handler();
  std::optional<References> references;
  if (!flags.references.empty()) references.emplace(flags.references);
  const EngineComparison comparison = comparison_for(flags);
  if (references && !comparison.captions() && !comparison.matches()) {
    throw Error(ErrorCode::usage, "--references is for models that write captions or match texts");
  }
  const Compared compared = compare(flags, comparison, references);
  const ComparisonSummary summary = summarise(compared.results);
  Json told = to_json(summary);
  std::optional<CiderChange> cider;
  if (references && comparison.captions()) {
    cider = cider_change(*references, compared);
    told["cider"] = cider_json(*cider);
  }
  if (flags.format == Format::text) {
    print(compared, summary, cider);
  } else if (flags.format == Format::json) {
    const Json document = {{"pictures", compared.rows}, {"summary", told}};
    std::printf("%s\n", dump(document, 2).c_str());
  } else {
    for (const Json& row : compared.rows) std::printf("%s\n", dump(row).c_str());
    std::printf("%s\n", Json{{"summary", told}}.dump().c_str());
  }
  return summary.passes() && !compared.failed ? 0 : 1;
}

}  // namespace

void add_compare_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand(
      "compare", "Tell how far a model's results in one precision are from those in another");
  const auto flags = std::make_shared<CompareFlags>();
  command
      ->add_option("PATH", flags->paths,
                   "picture files, or folders of them; first, in place of --model, the checkpoint")
      ->required();
  command->add_flag("-r,--recursive", flags->recursive, "read folders below the named ones too");
  flags->model.add_to(*command);
  command->add_option("--against-model", flags->against_model,
                      "checkpoint to compare with (default: the same)");
  add_precision_option(*command, flags->against, "--against");
  command->add_option("--prompt", flags->prompt, "how the captions begin");
  command->add_option("--references", flags->references,
                      "captions that people wrote (as for blip eval caption -a): tells how much "
                      "CIDEr changes, and matches pictures with them, too");
  add_format_flag(*command, flags->format);
  flags->image.add_to(*command);
  flags->generation.add_to(*command);
  command->callback([flags, &status] {
    take_model_from_paths(*flags);
    status = run(*flags);
  });
}

}  // namespace blip::cli
