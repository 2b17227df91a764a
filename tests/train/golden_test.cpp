// The trainer's losses, gradients and steps against those of the original code (golden data,
// group E) and of transformers (group C).
#include <gtest/gtest.h>

#include "blip/checkpoint/names.h"
#include "tests/train/case.h"
#include "train/model/caption.h"
#include "train/model/nlvr.h"
#include "train/model/pretrain.h"
#include "train/model/retrieval.h"
#include "train/model/vqa.h"
#include "train/model/weights.h"

namespace blip::train::testing {
namespace {

using torch::Tensor;

constexpr double kLoss = 1e-5;

template <class T>
std::shared_ptr<T> load(const Case& c) {
  auto task = std::make_shared<T>(c.options());
  const LoadReport report = load_checkpoint(*task, c.checkpoint());
  EXPECT_TRUE(report.missing.empty()) << report.missing.front();
  EXPECT_TRUE(report.misshapen.empty()) << report.misshapen.front();
  task->eval();
  return task;
}

/// What the golden data calls `name`: a parameter of ours, or training state by its own name.
Tensor tensor_of(const ModelTask& task, const std::string& name) {
  for (const auto& [known, tensor] : task.training_state()) {
    if (known == name) return tensor;
  }
  const Parameters::Entry* entry = task.parameters_by_name().find(transformers_name(name));
  if (entry == nullptr) throw std::runtime_error("no parameter " + name);
  return entry->tensor;
}

const std::string kBiasRows = "text_decoder.cls.predictions.bias[::61]";
const std::string kWordRows = "word_embeddings_rows";

/// The part of a tensor, or with `gradient` of its gradient, that the golden data keeps.
Tensor golden_part(const ModelTask& task, const Case& c, const std::string& name, bool gradient) {
  const auto whole = [&](const std::string& of) {
    const Tensor tensor = tensor_of(task, of);
    return (gradient ? tensor.grad() : tensor).detach().clone();
  };
  if (name == kBiasRows) return whole("text_decoder.cls.predictions.bias").slice(0, 0, {}, 61);
  if (name != kWordRows) return whole(name);
  return whole("text_encoder.embeddings.word_embeddings.weight")
      .index_select(0, c.inputs("word_embedding_row_ids"));
}

void expect_gradients(const ModelTask& task, const Case& c) {
  int compared = 0;
  for (const std::string& name : c.expected.names()) {
    if (!name.starts_with("grad.")) continue;
    const Tensor wanted = c.expected(name);
    const double tolerance = 1e-3 * wanted.abs().max().item<double>();
    expect_close(golden_part(task, c, name.substr(5), true), wanted, tolerance, 0, name);
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

/// Adam's first steps are all but the sign of a gradient: one near 0 may go either way.
void expect_parameters(const ModelTask& task, const Case& c, const std::string& prefix) {
  int compared = 0;
  for (const std::string& name : c.expected.names()) {
    if (!name.starts_with(prefix)) continue;
    const std::string of = name.substr(prefix.size());
    const Tensor got = golden_part(task, c, of, false), wanted = c.expected(name);
    ++compared;
    const std::string gradient = "grad." + of;
    if (!c.expected.contains(gradient)) {
      expect_close(got, wanted, 2e-6, 0, name);
      continue;
    }
    const Tensor tiny = c.expected(gradient).abs() < 1e-6;
    expect_close(at::where(tiny, wanted, got), wanted, 2e-6, 0, name);
    expect_close(got, wanted, 4e-4, 0, name);
  }
  EXPECT_GT(compared, 0);
}

/// Gives the indices that the reference drew.
NegativeChooser given_negatives(const Json& step) {
  const auto images = step["images_for_texts"].get<std::vector<std::int64_t>>();
  const auto texts = step["texts_for_images"].get<std::vector<std::int64_t>>();
  return [=, first = true](const Tensor& weights) mutable {
    const Tensor indices = torch::tensor(first ? images : texts);
    // What was drawn must have been possible.
    EXPECT_GT(weights.gather(1, indices.unsqueeze(1)).min().item<float>(), 0);
    first = false;
    return indices;
  };
}

Batch batch_of(const Case& c) {
  Batch batch;
  batch.pixel_values = c.inputs("pixel_values");
  batch.input_ids = c.inputs("input_ids");
  batch.attention_mask = c.inputs("attention_mask");
  if (c.inputs.contains("idx")) batch.image_ids = c.inputs("idx");
  return batch;
}

/// Two steps of AdamW, both held to the golden data.
template <class T>
void check_steps(const std::string& folder, const std::vector<std::string>& losses) {
  const Case c(folder);
  const auto task = load<T>(c);
  torch::optim::AdamW optimizer(task->parameters(),
                                torch::optim::AdamWOptions(1e-4).weight_decay(0.05));
  SingleProcess alone;
  for (int step = 1; step <= 2; ++step) {
    const std::string prefix = "step" + std::to_string(step) + ".";
    task->set_negative_chooser(given_negatives(c.manifest["negatives"][std::size_t(step - 1)]));
    optimizer.zero_grad();
    const Losses got = task->losses(batch_of(c), {step - 1}, alone);
    for (const std::string& name : losses) {
      expect_close(loss(got, name), c.expected(prefix + name), 0, kLoss, prefix + name);
    }
    total(got).backward();
    if (step == 1) expect_gradients(*task, c);
    optimizer.step();
    expect_parameters(*task, c, prefix + "after.");
  }
}

TEST(Golden, PretrainSteps) {
  check_steps<Pretrain>("E_original/pretrain", {"loss_ita", "loss_itm", "loss_lm"});
}

TEST(Golden, RetrievalSteps) {
  check_steps<Retrieval>("E_original/retrieval", {"loss_ita", "loss_itm"});
}

TEST(Golden, Caption) {
  const Case c("E_original/caption");
  const auto task = load<Captioner>(c);
  Batch batch;
  const Tensor ids = c.inputs("caption_ids"), targets = c.inputs("caption_targets");
  batch.pixel_values = c.inputs("pixel_values").slice(0, 0, ids.size(0));
  batch.input_ids = ids;
  batch.attention_mask = c.inputs("caption_mask");
  batch.prompt_lengths = (targets == -100).logical_and(batch.attention_mask != 0).sum(1);
  SingleProcess alone;
  expect_close(loss(task->losses(batch, {}, alone), "loss_lm"), c.expected("loss_lm"), 0, kLoss,
               "loss_lm");
  const Sight sight = task->decoder().attend_to(task->vision().forward(batch.pixel_values, false));
  const Tensor logits = task->decoder().logits({ids, batch.attention_mask, true}, sight, false);
  const Tensor real = (batch.attention_mask != 0).unsqueeze(2);
  expect_close(logits.slice(2, 0, {}, 61) * real, c.expected("logits_every61") * real, 2e-4, 2e-4,
               "logits");
}

TEST(Golden, Vqa) {
  const Case c("E_original/vqa");
  const auto task = load<Vqa>(c);
  Batch batch;
  batch.pixel_values = c.inputs("pixel_values");
  batch.input_ids = c.inputs("question_ids");
  batch.attention_mask = c.inputs("question_mask");
  batch.answer_ids = c.inputs("answer_ids");
  batch.answer_mask = c.inputs("answer_mask");
  batch.answer_counts = c.inputs("answer_counts");
  batch.answer_weights = c.inputs("answer_weights");
  SingleProcess alone;
  const Losses got = task->losses(batch, {}, alone);
  expect_close(loss(got, "loss_vqa"), c.expected("loss"), 0, kLoss, "loss");
  total(got).backward();
  expect_gradients(*task, c);
}

TEST(Golden, Nlvr) {
  const Case c("E_original/nlvr");
  const auto task = load<Nlvr>(c);
  Batch batch = batch_of(c);
  batch.labels = c.inputs("targets");
  const Tensor real = (batch.attention_mask != 0).unsqueeze(2);
  int layers = 0;
  const Tensor logits = task->logits(batch, [&](const std::string& name, const Tensor& values) {
    if (!c.expected.contains(name)) return;
    expect_close(values * real, c.expected(name) * real, 2e-4, 2e-4, name);
    ++layers;
  });
  EXPECT_EQ(layers, 9);
  expect_close(logits, c.expected("logits"), 2e-4, 2e-4, "logits");
  SingleProcess alone;
  const Losses got = task->losses(batch, {}, alone);
  expect_close(loss(got, "loss_nlvr"), c.expected("loss"), 0, kLoss, "loss");
  total(got).backward();
  expect_gradients(*task, c);
}

TEST(Golden, TransformersCaption) {
  const Case c("C_hf/caption");
  TaskOptions options = c.options();
  options.label_smoothing = 0.1;
  Captioner task(options);
  load_checkpoint(task, c.checkpoint());
  task.eval();
  Batch batch;
  batch.pixel_values = c.inputs("pixel_values");
  batch.input_ids = c.inputs("input_ids");
  batch.attention_mask = c.inputs("attention_mask");
  SingleProcess alone;
  expect_close(loss(task.losses(batch, {}, alone), "loss_lm"), c.expected("loss_smoothing_0.1"), 0,
               kLoss, "loss_smoothing_0.1");
  batch.prompt_lengths =
      (c.inputs("labels_prompt_masked") == -100).logical_and(batch.attention_mask != 0).sum(1);
  const Losses masked = task.losses(batch, {}, alone);
  expect_close(loss(masked, "loss_lm"), c.expected("loss_smoothing_0.1_prompt_masked"), 0, kLoss,
               "loss_smoothing_0.1_prompt_masked");
  total(masked).backward();
  int compared = 0;
  for (const std::string& name : c.expected.names()) {
    if (!name.starts_with("grad.")) continue;
    const Parameters::Entry* entry = task.parameters_by_name().find(name.substr(5));
    if (entry == nullptr) continue;
    const Tensor wanted = c.expected(name);
    expect_close(entry->tensor.grad(), wanted, 1e-3 * wanted.abs().max().item<double>(), 0, name);
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

}  // namespace
}  // namespace blip::train::testing
