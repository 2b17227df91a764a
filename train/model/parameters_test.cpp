#include "train/model/parameters.h"

#include <gtest/gtest.h>

#include "blip/base/error.h"
#include "train/model/caption.h"
#include "train/model/pretrain.h"
#include "train/model/tiny_task_test.h"

namespace blip::train {
namespace {

using testing::sum_of;
using testing::tiny_batch;
using testing::tiny_options;
using torch::Tensor;

TEST(Parameters, OfPretrainingAreSharedButSelfAttention) {
  const Pretrain task(tiny_options());
  const Parameters& parameters = task.parameters_by_name();
  const auto at = [&](const std::string& name) {
    const Parameters::Entry* entry = parameters.find(name);
    if (entry == nullptr) throw std::runtime_error(name);
    return entry->tensor;
  };
  const std::string shared[] = {"embeddings.word_embeddings.weight",
                                "encoder.layer.1.crossattention.self.key.weight",
                                "encoder.layer.0.output.dense.bias"};
  for (const std::string& name : shared) {
    EXPECT_TRUE(at("text_encoder." + name).is_same(at("text_decoder.bert." + name))) << name;
  }
  const std::string own = "encoder.layer.0.attention.self.query.weight";
  EXPECT_FALSE(at("text_encoder." + own).is_same(at("text_decoder.bert." + own)));
  // Nothing is counted twice; the temperature is a parameter too, momentum copies are none.
  EXPECT_EQ(task.Module::parameters().size(), parameters.tensors().size() + 1);
}

TEST(Parameters, ThatAreFrozenGetNoGradient) {
  TaskOptions options = tiny_options();
  options.frozen = {"vision_model.", "text_decoder.bert.embeddings."};
  Captioner task(options);
  SingleProcess alone;
  sum_of(task.losses(tiny_batch(4, 1), {}, alone)).backward();
  for (const Parameters::Entry& entry : task.parameters_by_name().entries()) {
    const bool frozen = entry.name.starts_with("vision_model.") ||
                        entry.name.starts_with("text_decoder.bert.embeddings.");
    EXPECT_EQ(entry.tensor.grad().defined(), !frozen) << entry.name;
  }
  options.frozen = {"visual_encoder."};
  EXPECT_THROW(Captioner{options}, Error);
}

TEST(Lora, StartsAsTheModelAndTrainsItselfAlone) {
  TaskOptions options = tiny_options();
  torch::manual_seed(5);
  Captioner plain(options);
  options.lora.rank = 2;
  options.frozen = {"vision_model.", "text_decoder."};
  Captioner task(options);
  {
    torch::NoGradGuard no_grad;
    for (const Parameters::Entry& entry : plain.parameters_by_name().entries()) {
      task.parameters_by_name().find(entry.name)->tensor.copy_(entry.tensor);
    }
  }
  SingleProcess alone;
  const Batch batch = tiny_batch(4, 1);
  const Tensor before = sum_of(task.losses(batch, {}, alone));
  EXPECT_TRUE(before.equal(sum_of(plain.losses(batch, {}, alone))));
  before.backward();
  std::size_t trained = 0;
  for (const Parameters::Entry& entry : task.parameters_by_name().entries()) {
    EXPECT_EQ(entry.tensor.grad().defined(), Parameters::is_lora(entry.name)) << entry.name;
    trained += Parameters::is_lora(entry.name);
  }
  EXPECT_EQ(trained, 2u * (2 + 2 * 2 * 2)) << "qkv of each ViT layer, query and value of each text "
                                              "layer's two attentions";
}

TEST(Lora, IsMergedAsItIsComputed) {
  TaskOptions options = tiny_options();
  options.lora = {.rank = 2, .alpha = 3, .targets = {"qkv", "mlp.fc1", "self.query"}};
  Captioner task(options);
  Captioner merged(tiny_options());
  torch::NoGradGuard no_grad;
  for (const Parameters::Entry& entry : task.parameters_by_name().entries()) {
    if (Parameters::is_lora(entry.name)) entry.tensor.normal_(0, 0.3);
  }
  for (const Parameters::Entry& entry : task.parameters_by_name().entries()) {
    if (Parameters::is_lora(entry.name)) continue;
    merged.parameters_by_name()
        .find(entry.name)
        ->tensor.copy_(task.parameters_by_name().merged(entry));
  }
  SingleProcess alone;
  const Batch batch = tiny_batch(4, 1);
  const Tensor with_lora = sum_of(task.losses(batch, {}, alone));
  EXPECT_NEAR(sum_of(merged.losses(batch, {}, alone)).item<float>(), with_lora.item<float>(), 1e-5);
}

}  // namespace
}  // namespace blip::train
