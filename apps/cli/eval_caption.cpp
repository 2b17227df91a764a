#include <map>
#include <memory>
#include <unordered_map>
#include <utility>

#include "apps/cli/eval_run.h"
#include "apps/cli/stop.h"
#include "blip/base/error.h"
#include "blip/dataset/caption_dataset.h"
#include "blip/dataset/results.h"
#include "blip/metrics/bleu.h"
#include "blip/metrics/cider.h"
#include "blip/metrics/ptb_tokenizer.h"
#include "blip/metrics/rouge_l.h"
#include "blip/tasks/captioning.h"

namespace blip::cli {
namespace {

enum class Preset { checkpoint, paper };
const std::map<std::string, Preset> kPresets = {{"checkpoint", Preset::checkpoint},
                                                {"paper", Preset::paper}};

struct CaptionEvalFlags {
  EvalFlags common;
  std::string split;
  std::string frequencies;
  Preset preset = Preset::checkpoint;
  CLI::Option* prompt_option = nullptr;
  std::string prompt;
  GenerationFlags generation;
};

using Captions = std::unordered_map<std::int64_t, std::string>;

/// References in the order of the annotations: the tokenizer reads them as one text.
std::vector<CaptionSample> samples_of(const PtbTokenizer& tokenizer,
                                      const std::vector<const CaptionedImage*>& images,
                                      const Captions& captions) {
  std::vector<std::string> candidates;
  std::vector<std::string> references;
  for (const CaptionedImage* image : images) {
    candidates.push_back(captions.at(image->id));
    references.insert(references.end(), image->captions.begin(), image->captions.end());
  }
  candidates = tokenizer.tokenize(candidates);
  references = tokenizer.tokenize(references);
  std::vector<CaptionSample> samples;
  auto next = references.begin();
  for (std::size_t i = 0; i < images.size(); ++i) {
    const auto end = next + static_cast<std::ptrdiff_t>(images[i]->captions.size());
    samples.push_back({std::move(candidates[i]), {next, end}});
    next = end;
  }
  return samples;
}

DocumentFrequencies frequencies_of(const PtbTokenizer& tokenizer, const std::string& file) {
  DocumentFrequencies frequencies;
  for (const CaptionedImage& image : read_captions(file)) {
    frequencies.add(tokenizer.tokenize(image.captions));
  }
  return frequencies;
}

EvalReport score(const CaptionEvalFlags& flags, const std::vector<CaptionedImage>& images,
                 const std::vector<CaptionResult>& results) {
  Captions captions;
  for (const CaptionResult& result : results) captions.emplace(result.image_id, result.caption);
  std::vector<const CaptionedImage*> scored;
  for (const CaptionedImage& image : images) {
    if (captions.contains(image.id)) scored.push_back(&image);
  }
  if (scored.size() < captions.size()) {
    throw Error(ErrorCode::usage, std::to_string(captions.size() - scored.size()) + " of " +
                                      std::to_string(captions.size()) +
                                      " results are for pictures that are not in " +
                                      flags.common.annotations);
  }
  if (scored.empty()) throw Error(ErrorCode::usage, "there are no results to score");

  const PtbTokenizer tokenizer;
  const std::vector<CaptionSample> samples = samples_of(tokenizer, scored, captions);
  const DocumentFrequencies frequencies = flags.frequencies.empty()
                                              ? document_frequencies(samples)
                                              : frequencies_of(tokenizer, flags.frequencies);
  EvalReport report{"caption", {}, images.size() - scored.size()};
  const auto add = [&](const std::string& key, const std::string& label,
                       const CorpusScore& scores) {
    report.metrics.push_back({key, label, 100 * scores.score, samples.size()});
  };
  const auto bleus = bleu(samples);
  for (std::size_t n = 0; n < bleus.size(); ++n) {
    add("bleu_" + std::to_string(n + 1), "BLEU-" + std::to_string(n + 1), bleus[n]);
  }
  add("rouge_l", "ROUGE-L", rouge_l(samples));
  add("cider", "CIDEr", cider_d(samples, frequencies));
  return report;
}

CaptionOptions options_of(const CaptionEvalFlags& flags, const Engine& engine) {
  CaptionOptions options;
  options.generation = engine.default_generation();
  if (flags.preset == Preset::paper) options = paper_caption_options();
  flags.generation.apply_to(options.generation);
  options.strip_prompt = true;
  if (options.generation.num_return_sequences != 1) {
    throw Error(ErrorCode::usage,
                "one caption of each picture is scored: --num-return-sequences must be 1");
  }
  return options;
}

/// Runs the model; returns the results and whether all pictures have one.
std::pair<std::vector<CaptionResult>, bool> run_model(const CaptionEvalFlags& flags,
                                                      const std::vector<CaptionedImage>& images) {
  install_stop_handler();
  const Captioner captioner(flags.common.model.load());
  const CaptionOptions options = options_of(flags, captioner.engine());
  const std::string prompt = flags.preset == Preset::paper && flags.prompt_option->count() == 0
                                 ? std::string(kPaperPrompt)
                                 : flags.prompt;
  captioner.validate(prompt, options);
  const std::vector<std::filesystem::path> inputs = {flags.common.annotations};
  EvalRun run(flags.common, captioner.engine(), "caption",
              {{"prompt", prompt},
               {"clean_up", options.clean_up_tokenization_spaces},
               {"generation", to_json(options.generation)}},
              inputs);

  const std::vector<std::size_t> items =
      run.open_items(images.size(), [&](std::size_t i) { return Json(images[i].id); });
  std::vector<CaptionRequest> requests;
  std::vector<std::int64_t> ids;
  run.run(
      items, flags.common.batch_size,
      [&](std::size_t i) {
        requests.push_back({run.pictures().encode(images[i].file, run.context()), prompt});
        ids.push_back(images[i].id);
      },
      [&] {
        std::vector<Json> rows;
        const auto captions = captioner.caption(requests, options, run.context());
        for (std::size_t i = 0; i < ids.size(); ++i)
          rows.push_back({{"id", ids[i]}, {"value", captions[i].front().text}});
        requests.clear();
        ids.clear();
        return rows;
      });

  const auto all = run.values<std::int64_t, std::string>();
  std::vector<CaptionResult> results;
  for (const CaptionedImage& image : images) {
    if (const auto found = all.find(image.id); found != all.end())
      results.push_back({image.id, found->second});
  }
  write_results(flags.common.output, results);
  if (run.failed() == 0) run.journal().remove();
  return {std::move(results), run.failed() == 0};
}

int run(const CaptionEvalFlags& flags) {
  const bool runs_model = flags.common.runs_model();
  const std::vector<CaptionedImage> images = read_captions(flags.common.annotations, flags.split);
  if (!runs_model) {
    publish(score(flags, images, read_caption_results(flags.common.results)), flags.common);
    return 0;
  }
  const auto [results, complete] = run_model(flags, images);
  publish(score(flags, images, results), flags.common);
  return complete ? 0 : 1;
}

}  // namespace

void add_eval_caption(CLI::App& eval, int& status) {
  CLI::App* command =
      eval.add_subcommand("caption", "Descriptions: BLEU-1 to BLEU-4, ROUGE-L, CIDEr-D");
  const auto flags = std::make_shared<CaptionEvalFlags>();
  flags->common.add_to(*command, "COCO's [{\"image_id\", \"caption\"}]");
  command->add_option("--split", flags->split, "part of Karpathy's annotations, such as test");
  command->add_option("--document-frequencies", flags->frequencies,
                      "take CIDEr's word weights from the captions of this annotation file "
                      "(default: of the pictures that are scored)");
  flags->prompt_option = command->add_option("--prompt", flags->prompt,
                                             "how the description begins; left out of the result");
  command
      ->add_option("--preset", flags->preset,
                   "settings to start from: the checkpoint's, or the paper's (prompt \"a picture "
                   "of \", 3 beams, 5 to 20 tokens)")
      ->transform(CLI::CheckedTransformer(kPresets).description("{checkpoint,paper}"))
      ->group("Generation");
  flags->generation.add_to(*command);
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
