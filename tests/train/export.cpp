// Writes what the trainer saves, beside what it computes, for other programs to compare with:
//   train_export FOLDER
// makes FOLDER/{caption,vqa,retrieval,pretrain,nlvr}/ in both layouts, and in the first three
// outputs.safetensors.
#include <cstdio>
#include <memory>

#include "blip/base/error.h"
#include "blip/checkpoint/safetensors.h"
#include "train/model/caption.h"
#include "train/model/nlvr.h"
#include "train/model/pretrain.h"
#include "train/model/retrieval.h"
#include "train/model/tiny_task_test.h"
#include "train/model/vqa.h"

namespace blip::train {
namespace {

namespace fs = std::filesystem;

using torch::Tensor;

StoredTensor stored(const Tensor& tensor) {
  const auto kept = std::make_shared<const Tensor>(tensor.detach().contiguous());
  const bool whole = kept->scalar_type() == torch::kLong;
  return {whole ? DType::i64 : DType::f32,
          Shape(kept->sizes().begin(), kept->sizes().end()),
          {static_cast<const std::byte*>(kept->data_ptr()), kept->nbytes()},
          kept};
}

/// One of the tasks with random weights of seed 1, LoRA's among them.
template <class T>
std::unique_ptr<T> saved(const fs::path& folder) {
  torch::manual_seed(1);
  TaskOptions options = testing::tiny_options();
  options.lora.rank = 2;
  // transformers' VQA has room for one width alone.
  options.config.text.hidden_size = options.config.vision.hidden_size;
  auto task = std::make_unique<T>(options);
  {
    // Large enough for every layer, bias and LoRA to show in the outputs.
    torch::NoGradGuard no_grad;
    for (const auto& entry : task->parameters_by_name().entries()) {
      if (!entry.tied) Tensor(entry.tensor).add_(torch::randn_like(entry.tensor) * 0.1);
    }
  }
  task->eval();
  fs::create_directories(folder);
  task->save_pretrained(folder, Layout::hugging_face);
  task->save_pretrained(folder, Layout::authors);
  return task;
}

void write(const fs::path& folder, const Batch& batch,
           std::vector<std::pair<std::string, StoredTensor>> outputs) {
  outputs.emplace_back("pixel_values", stored(batch.pixel_values));
  outputs.emplace_back("input_ids", stored(batch.input_ids));
  outputs.emplace_back("attention_mask", stored(batch.attention_mask));
  write_safetensors(folder / "outputs.safetensors", outputs);
}

void export_all(const fs::path& root) {
  const Batch batch = testing::tiny_batch(4, 7);
  const Texts texts{batch.input_ids, batch.attention_mask};
  const Texts written{batch.input_ids, batch.attention_mask, /*causal=*/true};
  {
    const auto task = saved<Captioner>(root / "caption");
    const Tensor embeds = task->vision().forward(batch.pixel_values, false);
    const Tensor logits = task->decoder().logits(written, task->decoder().attend_to(embeds), false);
    write(root / "caption", batch, {{"image_embeds", stored(embeds)}, {"logits", stored(logits)}});
  }
  {
    const auto task = saved<Vqa>(root / "vqa");
    const Sight picture =
        task->text_encoder().project(task->vision().forward(batch.pixel_values, false));
    const Tensor states = task->text_encoder().forward(texts, &picture, false);
    Sight question = task->decoder().attend_to(states);
    question.mask = batch.attention_mask;
    const Tensor logits = task->decoder().logits(written, question, false);
    write(root / "vqa", batch, {{"question_states", stored(states)}, {"logits", stored(logits)}});
  }
  {
    const auto task = saved<Retrieval>(root / "retrieval");
    const FeatureEncoders& encoders = task->encoders();
    const Tensor embeds = task->vision().forward(batch.pixel_values, false);
    const Tensor similarities = encoders.image_features(embeds).matmul(
        encoders.text_features(encoders.text().forward(texts, nullptr, false)).t());
    const Sight picture = encoders.text().project(embeds);
    const Tensor hidden = encoders.text().forward(texts, &picture, false);
    write(root / "retrieval", batch,
          {{"similarities", stored(similarities)},
           {"itm_logits", stored(task->itm_head()(hidden.select(1, 0)))}});
  }
  saved<Pretrain>(root / "pretrain");
  saved<Nlvr>(root / "nlvr");
}

}  // namespace
}  // namespace blip::train

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: train_export FOLDER\n");
    return 2;
  }
  try {
    blip::train::export_all(argv[1]);
  } catch (const blip::Error& e) {
    std::fprintf(stderr, "train_export: %s\n", e.what());
    return blip::exit_status(e.code());
  }
  return 0;
}
