#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "apps/cli/eval_run.h"
#include "apps/cli/eval_two_stage.h"
#include "apps/cli/stop.h"
#include "blip/base/error.h"
#include "blip/checkpoint/safetensors.h"
#include "blip/metrics/recall.h"

namespace blip::cli {
namespace {

const std::map<std::string, FirstToken> kItmTokens = {{"enc", FirstToken::enc},
                                                      {"cls", FirstToken::cls}};

struct RetrievalEvalFlags {
  EvalFlags common;
  TwoStageOptions options;
};

/// One way. Queries none of whose pairs has a score are left out and counted in `missing`.
Recall recall_of(const Tensor& scores,
                 const std::function<std::vector<std::size_t>(std::size_t)>& right,
                 std::size_t& missing) {
  Recall recall;
  for (std::size_t i = 0; i < static_cast<std::size_t>(scores.dim(0)); ++i) {
    const std::span<const float> row = scores[i];
    if (std::all_of(row.begin(), row.end(), [](float s) { return !(s > kNotScored); })) {
      ++missing;
    } else {
      recall.add(best_rank(row, right(i)));
    }
  }
  return recall;
}

EvalReport score(const RetrievalScores& scores, const RetrievalTexts& texts) {
  EvalReport report{"retrieval", {}, 0};
  const auto add = [&](const std::string& key, const std::string& label, const Recall& recall) {
    const std::size_t queries = recall.queries();
    report.metrics.push_back({key + "_r1", label + " R@1", recall.at_1(), queries});
    report.metrics.push_back({key + "_r5", label + " R@5", recall.at_5(), queries});
    report.metrics.push_back({key + "_r10", label + " R@10", recall.at_10(), queries});
    report.metrics.push_back({key + "_r_mean", label + " mean", recall.mean(), queries});
  };
  const Recall found_texts = recall_of(
      scores.i2t, [&](std::size_t i) { return texts.of_image[i]; }, report.missing);
  const Recall found_images = recall_of(
      scores.t2i, [&](std::size_t t) { return std::vector{texts.image_of[t]}; }, report.missing);
  add("txt", "text", found_texts);
  add("img", "image", found_images);
  report.metrics.push_back({"r_mean", "mean", (found_texts.mean() + found_images.mean()) / 2,
                            found_texts.queries() + found_images.queries()});
  return report;
}

RetrievalScores read_scores(const std::string& file, const RetrievalTexts& texts) {
  const auto images = static_cast<std::int64_t>(texts.of_image.size());
  const auto count = static_cast<std::int64_t>(texts.texts.size());
  TensorStore store;
  store.set_origin(file);
  const auto copy = [&](const char* name, const Shape& shape) {
    const Weight stored = store.weight(name, shape);
    Tensor tensor(shape);
    std::copy_n(stored.data(), stored.size(), tensor.data());
    return tensor;
  };
  try {
    read_safetensors(file, store);
    return {copy("score_i2t", {images, count}), copy("score_t2i", {count, images})};
  } catch (const Error& e) {
    if (e.code() != ErrorCode::bad_model) throw;
    throw Error(ErrorCode::io, e.what());  // the file is no model
  }
}

void write_scores(const std::string& file, const RetrievalScores& scores) {
  const auto view = [](const Tensor& tensor) {
    StoredTensor stored;
    stored.shape = tensor.shape();
    stored.bytes = std::as_bytes(tensor.span());
    return stored;
  };
  write_safetensors(file, {{"score_i2t", view(scores.i2t)}, {"score_t2i", view(scores.t2i)}});
}

int run(const RetrievalEvalFlags& flags) {
  const bool runs_model = flags.common.runs_model();
  const std::vector<CaptionedImage> images =
      read_captions(flags.common.annotations, flags.options.split);
  const RetrievalTexts texts(images, flags.options.max_words);
  if (texts.texts.empty()) {
    throw Error(ErrorCode::usage, flags.common.annotations + " holds no captions");
  }
  if (!runs_model) {
    publish(score(read_scores(flags.common.results, texts), texts), flags.common);
    return 0;
  }
  install_stop_handler();
  TwoStage stages(flags.common, flags.options, images, texts);
  const RetrievalScores scores = stages.scores();
  write_scores(flags.common.output, scores);
  const bool complete = stages.finish();
  publish(score(scores, texts), flags.common);
  return complete ? 0 : 1;
}

}  // namespace

void add_eval_retrieval(CLI::App& eval, int& status) {
  CLI::App* command = eval.add_subcommand(
      "retrieval", "Texts found by picture, pictures by text: R@1, R@5, R@10 and their mean");
  const auto flags = std::make_shared<RetrievalEvalFlags>();
  flags->common.add_to(*command,
                       "safetensors with score_i2t [images, texts] and score_t2i [texts, images], "
                       "in the order of the annotations");
  TwoStageOptions& options = flags->options;
  command->add_option("--split", options.split, "part of Karpathy's annotations, such as test");
  command
      ->add_option("-k,--k-test", options.k,
                   "pairs of each picture and of each text that ITM judges; the authors take 256 "
                   "for COCO, 128 for Flickr30k")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_option("--max-words", options.max_words, "longer captions are cut")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--itm-token", options.itm_token,
                   "token in front of a text that is matched: enc (default) as in the authors' "
                   "evaluation, cls as in transformers")
      ->transform(CLI::CheckedTransformer(kItmTokens).description("{enc,cls}"));
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
