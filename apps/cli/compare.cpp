#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
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
  return {{"pictures", s.pictures},
          {"cosine", s.cosine},
          {"least_cosine", s.least_cosine},
          {"divergence", s.divergence},
          {"largest_divergence", s.largest_divergence},
          {"identical_captions", s.identical},
          {"passes", s.passes()}};
}

void print_summary(const ComparisonSummary& s) {
  std::printf("pictures                    %zu\n", s.pictures);
  std::printf("cosine of image_embeds      %.6f (least of a token %.6f)\n", s.cosine,
              s.least_cosine);
  std::printf("divergence of next tokens   %.6f nats (largest %.6f)\n", s.divergence,
              s.largest_divergence);
  std::printf("identical captions          %.1f %%\n", 100 * s.identical);
  std::printf("accuracy gate               %s\n", s.passes() ? "passed" : "NOT passed");
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

CiderChange cider_change(const References& references,
                         const std::vector<std::filesystem::path>& pictures,
                         const std::vector<PictureComparison>& results) {
  const PtbTokenizer tokenizer;
  std::vector<CaptionSample> wanted, got;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const std::vector<std::string>* said = references.find(pictures[i]);
    if (said == nullptr) continue;
    const auto texts = tokenizer.tokenize(std::vector{results[i].wanted, results[i].text});
    wanted.push_back({texts[0], tokenizer.tokenize(*said)});
    got.push_back({texts[1], wanted.back().references});
  }
  if (wanted.empty()) {
    throw Error(ErrorCode::usage, "--references says nothing of any of these pictures");
  }
  const DocumentFrequencies frequencies = references.frequencies(tokenizer);
  return {wanted.size(), 100 * cider_d(wanted, frequencies).score,
          100 * cider_d(got, frequencies).score};
}

Json row_of(const std::string& path, const PictureComparison& one) {
  return {{"path", path},
          {"cosine", one.cosine},
          {"least_cosine", one.least_cosine},
          {"divergence", one.divergence},
          {"largest_divergence", one.largest_divergence},
          {"wanted", one.wanted},
          {"text", one.text}};
}

/// Exit status 0 when the gate is passed, else 1.
int run(const CompareFlags& flags) {
  install_stop_handler();
  const Context context{flags.model.num_threads, &stop_requested()};
  const std::vector<PictureInput> inputs = expand_inputs(flags.paths, flags.recursive);
  std::optional<References> references;
  if (!flags.references.empty()) references.emplace(flags.references);
  EngineOptions against = flags.model.options;
  against.precision = flags.against;
  const std::filesystem::path model = flags.model.path();
  const Engine reference = Engine::load(
      flags.against_model.empty() ? model : std::filesystem::path(flags.against_model), against);
  CaptionOptions options;
  options.generation = reference.default_generation();
  flags.generation.apply_to(options.generation);
  const EngineComparison comparison(reference, Engine::load(model, flags.model.options),
                                    flags.prompt, options);
  if (references && !comparison.captions()) {
    throw Error(ErrorCode::usage, "--references is for models that write captions");
  }

  std::vector<PictureComparison> results;
  std::vector<std::filesystem::path> compared;
  Json rows = Json::array();
  Progress progress(inputs.size());
  bool failed = false;
  for (const PictureInput& input : inputs) {
    try {
      results.push_back(comparison.compare(load_input(input, flags.image.options), context));
      compared.push_back(input.path);
      rows.push_back(row_of(input.name, results.back()));
    } catch (const Error& e) {
      if (e.code() == ErrorCode::cancelled) throw;
      progress.clear();
      std::fprintf(stderr, "blip: %s\n", e.what());
      failed = true;
    }
    progress.update(results.size());
  }
  progress.clear();
  const ComparisonSummary summary = summarise(results);
  Json told = to_json(summary);
  std::optional<CiderChange> cider;
  if (references) {
    cider = cider_change(*references, compared, results);
    told["cider"] = cider_json(*cider);
  }
  if (flags.format == Format::text) {
    for (const PictureComparison& one : results) {
      if (one.text != one.wanted)
        std::printf("differs: %s | %s\n", one.wanted.c_str(), one.text.c_str());
    }
    if (cider) {
      std::printf("CIDEr                       %.2f, was %.2f (%+.2f; %zu pictures)\n", cider->got,
                  cider->wanted, cider->got - cider->wanted, cider->pictures);
    }
    print_summary(summary);
  } else if (flags.format == Format::json) {
    const Json document = {{"pictures", rows}, {"summary", told}};
    std::printf("%s\n", dump(document, 2).c_str());
  } else {
    for (const Json& row : rows) std::printf("%s\n", dump(row).c_str());
    std::printf("%s\n", Json{{"summary", told}}.dump().c_str());
  }
  return summary.passes() && !failed ? 0 : 1;
}

}  // namespace

void add_compare_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand(
      "compare", "Tell how far a model's results in one precision are from those in another");
  const auto flags = std::make_shared<CompareFlags>();
  command->add_option("PATH", flags->paths, "picture files, or folders of them")->required();
  command->add_flag("-r,--recursive", flags->recursive, "read folders below the named ones too");
  flags->model.add_to(*command);
  command->add_option("--against-model", flags->against_model,
                      "checkpoint to compare with (default: the same)");
  add_precision_option(*command, flags->against, "--against");
  command->add_option("--prompt", flags->prompt, "how the captions begin");
  command->add_option("--references", flags->references,
                      "captions that people wrote (as for blip eval caption -a): tells how much "
                      "CIDEr changes, too");
  add_format_flag(*command, flags->format);
  flags->image.add_to(*command);
  flags->generation.add_to(*command);
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
