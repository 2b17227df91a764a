#include "train/model/weights.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "blip/base/error.h"
#include "blip/base/json.h"
#include "blip/checkpoint/checkpoint.h"
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

using testing::sum_of;
using testing::tiny_batch;
using testing::tiny_options;
using torch::Tensor;

/// A folder that goes away.
class Folder {
 public:
  Folder() : path_(fs::path(::testing::TempDir()) / "blip_weights_test") {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

Tensor parameter(const ModelTask& task, const std::string& name) {
  const Parameters::Entry* entry = task.parameters_by_name().find(name);
  if (entry == nullptr) throw std::runtime_error("no parameter " + name);
  return entry->tensor.detach();
}

using Files = std::vector<std::pair<std::string, Tensor>>;

/// A safetensors file of these.
fs::path written(const fs::path& file, const Files& tensors) {
  std::vector<std::pair<std::string, StoredTensor>> stored;
  for (const auto& [name, tensor] : tensors) {
    const auto kept = std::make_shared<Tensor>(tensor.contiguous());
    stored.emplace_back(
        name, StoredTensor{DType::f32,
                           Shape(kept->sizes().begin(), kept->sizes().end()),
                           {static_cast<const std::byte*>(kept->data_ptr()), kept->nbytes()},
                           kept});
  }
  write_safetensors(file, stored);
  return file;
}

template <class T>
void expect_back(Layout layout, const std::string& file) {
  const Folder folder;
  torch::manual_seed(1);
  T saved(tiny_options());
  SingleProcess alone;
  saved.losses(tiny_batch(4, 1, std::is_same_v<T, Nlvr> ? 8 : 4), {}, alone);  // moves the queue
  saved.save_pretrained(folder.path(), layout);
  torch::manual_seed(2);
  T loaded(tiny_options());
  const LoadReport report = load_checkpoint(loaded, folder.path() / file);
  EXPECT_TRUE(report.missing.empty() && report.misshapen.empty());
  for (const auto& entry : saved.parameters_by_name().entries()) {
    EXPECT_TRUE(parameter(loaded, entry.name).equal(entry.tensor)) << entry.name;
  }
  if (layout == Layout::hugging_face) return;
  const auto wanted = saved.training_state(), got = loaded.training_state();
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_TRUE(got[i].second.equal(wanted[i].second)) << wanted[i].first;
  }
}

TEST(Weights, ComeBackInTheHuggingFaceLayout) {
  expect_back<Captioner>(Layout::hugging_face, "");
  expect_back<Pretrain>(Layout::hugging_face, "");
  expect_back<Retrieval>(Layout::hugging_face, "model.safetensors");
  expect_back<Vqa>(Layout::hugging_face, "");
  expect_back<Nlvr>(Layout::hugging_face, "");
}

TEST(Weights, ComeBackInTheAuthorsLayoutWithTheirTrainingState) {
  expect_back<Captioner>(Layout::authors, "model.pth");
  expect_back<Pretrain>(Layout::authors, "model.pth");
  expect_back<Retrieval>(Layout::authors, "model.pth");
  expect_back<Vqa>(Layout::authors, "model.pth");
  expect_back<Nlvr>(Layout::authors, "model.pth");
}

TEST(Weights, OfPretrainingStartEveryTask) {
  const Folder folder;
  torch::manual_seed(1);
  const Pretrain pretrained(tiny_options());
  pretrained.save_pretrained(folder.path(), Layout::hugging_face);
  torch::manual_seed(2);
  const auto missing = [&](Task& task) {
    const LoadReport report = load_checkpoint(task, folder.path());
    EXPECT_TRUE(report.misshapen.empty());
    return report.missing;
  };
  Captioner captioner(tiny_options());
  EXPECT_TRUE(missing(captioner).empty());
  const std::string cross = "encoder.layer.1.crossattention.";
  EXPECT_TRUE(parameter(captioner, "text_decoder.bert." + cross + "self.key.weight")
                  .equal(parameter(pretrained, "text_encoder." + cross + "self.key.weight")));

  Retrieval retrieval(tiny_options());
  EXPECT_TRUE(missing(retrieval).empty());
  for (const auto& [name, tensor] : retrieval.training_state()) {
    if (name == "vision_proj_m.weight") {
      EXPECT_TRUE(tensor.equal(parameter(pretrained, "vision_proj.weight")));
    }
  }

  Nlvr nlvr(tiny_options());
  for (const std::string& name : missing(nlvr)) EXPECT_TRUE(name.starts_with("cls_head.")) << name;
  for (const std::string branch : {"0", "1"}) {
    EXPECT_TRUE(parameter(nlvr, "text_encoder." + cross + "self" + branch + ".key.weight")
                    .equal(parameter(pretrained, "text_encoder." + cross + "self.key.weight")));
    EXPECT_TRUE(parameter(nlvr, "text_encoder." + cross + "output.dense" + branch + ".bias")
                    .equal(parameter(pretrained, "text_encoder." + cross + "output.dense.bias")));
  }

  // The decoder of VQA looks at the question, whose width is another here.
  Vqa vqa(tiny_options());
  const LoadReport report = load_checkpoint(vqa, folder.path());
  EXPECT_TRUE(report.missing.empty());
  EXPECT_EQ(report.misshapen.size(), 4u) << "keys and values of two layers";
}

TEST(Weights, OfAnotherPictureSizeAreInterpolated) {
  const Folder folder;
  torch::manual_seed(1);
  Captioner(tiny_options()).save_pretrained(folder.path(), Layout::hugging_face);
  TaskOptions options = tiny_options();
  options.config.vision.image_size = 64;
  Captioner larger(options);
  EXPECT_TRUE(load_checkpoint(larger, folder.path()).misshapen.empty());
}

TEST(Weights, OfAModelThatFitsNowhereAreRefused) {
  const Folder folder;
  Captioner(tiny_options()).save_pretrained(folder.path(), Layout::hugging_face);
  TaskOptions options = tiny_options();
  options.config.vision.hidden_size = 20;
  options.config.vision.intermediate_size = 48;
  options.config.text.hidden_size = 14;
  options.config.text.intermediate_size = 22;
  options.config.text.vocab_size = 90;
  options.config.vision.patch_size = 8;
  Captioner other(options);
  EXPECT_THROW(load_checkpoint(other, folder.path()), Error);
  EXPECT_THROW(load_checkpoint(other, folder.path() / "nothing"), Error);
  EXPECT_THROW(load_vision(other, folder.path()), Error);
  EXPECT_THROW(load_text(other, folder.path()), Error);
}

TEST(Weights, ThatWereConvertedAreRefused) {
  const Folder folder;
  Captioner task(tiny_options());
  const fs::path file =
      written(folder.path() / "model.safetensors", {{"a.weight_panels", torch::zeros({32, 32})}});
  try {
    load_checkpoint(task, file);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("was converted"), std::string::npos) << e.what();
  }
}

/// The tiny ViT with these names of its parts, a layer's names being below `layer` + N + ".".
TEST(Weights, OfAVitInTimmsNames) {
  const Folder folder;
  torch::manual_seed(1);
  Files files = {{"cls_token", torch::randn({1, 1, 16})},
                 {"pos_embed", torch::randn({1, 5, 16})},
                 {"patch_embed.proj.weight", torch::randn({16, 3, 16, 16})},
                 {"patch_embed.proj.bias", torch::randn({16})},
                 {"norm.weight", torch::randn({16})},
                 {"norm.bias", torch::randn({16})},
                 {"head.weight", torch::randn({10, 16})}};
  for (const std::string layer : {"blocks.0.", "blocks.1."}) {
    for (const std::string norm : {"norm1", "norm2"}) {
      files.emplace_back(layer + norm + ".weight", torch::randn({16}));
      files.emplace_back(layer + norm + ".bias", torch::randn({16}));
    }
    const std::tuple<const char*, int, int> linears[] = {
        {"attn.qkv", 48, 16}, {"attn.proj", 16, 16}, {"mlp.fc1", 32, 16}, {"mlp.fc2", 16, 32}};
    for (const auto& [name, out, in] : linears) {
      files.emplace_back(layer + name + ".weight", torch::randn({out, in}));
      files.emplace_back(layer + name + ".bias", torch::randn({out}));
    }
  }
  Captioner task(tiny_options());
  const LoadReport report = load_vision(task, written(folder.path() / "vit.safetensors", files));
  EXPECT_TRUE(report.missing.empty() && report.misshapen.empty());
  const auto find = [&](const std::string& name) {
    for (const auto& [known, tensor] : files) {
      if (known == name) return tensor;
    }
    throw std::runtime_error(name);
  };
  EXPECT_TRUE(parameter(task, "vision_model.encoder.layers.1.self_attn.qkv.weight")
                  .equal(find("blocks.1.attn.qkv.weight")));
  EXPECT_TRUE(parameter(task, "vision_model.post_layernorm.bias").equal(find("norm.bias")));
}

TEST(Weights, OfADistilledVitInTransformersNames) {
  const Folder folder;
  torch::manual_seed(1);
  const std::string prefix = "deit.";
  const Tensor positions = torch::randn({1, 6, 16});
  Files files = {
      {prefix + "embeddings.cls_token", torch::randn({1, 1, 16})},
      {prefix + "embeddings.distillation_token", torch::randn({1, 1, 16})},
      {prefix + "embeddings.position_embeddings", positions},
      {prefix + "embeddings.patch_embeddings.projection.weight", torch::randn({16, 3, 16, 16})},
      {prefix + "embeddings.patch_embeddings.projection.bias", torch::randn({16})},
      {prefix + "layernorm.weight", torch::randn({16})},
      {prefix + "layernorm.bias", torch::randn({16})},
      {"cls_classifier.weight", torch::randn({10, 16})}};
  for (const std::string number : {"0.", "1."}) {
    const std::string layer = prefix + "encoder.layer." + number;
    for (const std::string norm : {"layernorm_before", "layernorm_after"}) {
      files.emplace_back(layer + norm + ".weight", torch::randn({16}));
      files.emplace_back(layer + norm + ".bias", torch::randn({16}));
    }
    const std::tuple<const char*, int, int> linears[] = {
        {"attention.attention.query", 16, 16}, {"attention.attention.key", 16, 16},
        {"attention.attention.value", 16, 16}, {"attention.output.dense", 16, 16},
        {"intermediate.dense", 32, 16},        {"output.dense", 16, 32}};
    for (const auto& [name, out, in] : linears) {
      files.emplace_back(layer + name + ".weight", torch::randn({out, in}));
      files.emplace_back(layer + name + ".bias", torch::randn({out}));
    }
  }
  Captioner task(tiny_options());
  const LoadReport report = load_vision(task, written(folder.path() / "vit.safetensors", files));
  EXPECT_TRUE(report.missing.empty() && report.misshapen.empty());
  EXPECT_TRUE(parameter(task, "vision_model.embeddings.position_embedding")
                  .equal(at::cat({positions.slice(1, 0, 1), positions.slice(1, 2)}, 1)));
  const auto find = [&](const std::string& name) {
    for (const auto& [known, tensor] : files) {
      if (known == prefix + "encoder.layer.1." + name) return tensor;
    }
    throw std::runtime_error(name);
  };
  const std::string layer = "vision_model.encoder.layers.1.";
  EXPECT_TRUE(parameter(task, layer + "self_attn.qkv.weight")
                  .equal(at::cat({find("attention.attention.query.weight"),
                                  find("attention.attention.key.weight"),
                                  find("attention.attention.value.weight")})));
  EXPECT_TRUE(parameter(task, layer + "mlp.fc2.bias").equal(find("output.dense.bias")));
  EXPECT_TRUE(parameter(task, layer + "self_attn.projection.bias")
                  .equal(find("attention.output.dense.bias")));
}

TEST(Weights, OfABert) {
  const Folder folder;
  torch::manual_seed(1);
  // Two words fewer: [DEC] and [ENC] are not BERT's. LayerNorm as the first files spell it.
  Files files = {{"bert.embeddings.word_embeddings.weight", torch::randn({58, 12})},
                 {"bert.embeddings.position_embeddings.weight", torch::randn({20, 12})},
                 {"bert.embeddings.token_type_embeddings.weight", torch::randn({2, 12})},
                 {"bert.embeddings.LayerNorm.gamma", torch::randn({12})},
                 {"bert.embeddings.LayerNorm.beta", torch::randn({12})},
                 {"cls.predictions.bias", torch::randn({58})},
                 {"bert.pooler.dense.weight", torch::randn({12, 12})}};
  const std::string query = "encoder.layer.1.attention.self.query.weight";
  files.emplace_back("bert." + query, torch::randn({12, 12}));
  files.emplace_back("bert.encoder.layer.0.attention.self.query.weight", torch::randn({12, 12}));
  Pretrain task(tiny_options());
  const Tensor added =
      parameter(task, "text_encoder.embeddings.word_embeddings.weight").slice(0, 58).clone();
  const LoadReport report = load_text(task, written(folder.path() / "bert.safetensors", files));
  EXPECT_TRUE(report.misshapen.empty());
  for (const std::string prefix : {"text_encoder.", "text_decoder.bert."}) {
    EXPECT_TRUE(parameter(task, prefix + query).equal(files[7].second)) << prefix;
  }
  const Tensor words = parameter(task, "text_encoder.embeddings.word_embeddings.weight");
  EXPECT_TRUE(words.slice(0, 0, 58).equal(files[0].second));
  EXPECT_TRUE(words.slice(0, 58).equal(added));
  EXPECT_TRUE(parameter(task, "text_encoder.embeddings.position_embeddings.weight")
                  .equal(files[1].second.slice(0, 0, 16)));
  EXPECT_TRUE(parameter(task, "text_encoder.embeddings.LayerNorm.weight").equal(files[3].second));
  for (const auto& [name, tensor] : task.training_state()) {
    if (name != "text_encoder_m." + query) continue;
    EXPECT_TRUE(tensor.equal(files[7].second)) << "the copy is not the model";
  }
}

TEST(Weights, LoadIntoTheEngine) {
  const Folder folder;
  torch::manual_seed(1);
  Pretrain(tiny_options()).save_pretrained(folder.path(), Layout::hugging_face);
  const Checkpoint checkpoint = open_checkpoint(folder.path());
  EXPECT_EQ(checkpoint.family, CheckpointFamily::authors) << "matching would leave [ENC] out";
  EXPECT_EQ(checkpoint.config.architecture, Architecture::pretrain);
  // What the decoder shares is there under both names: transformers has a class for each.
  const std::string name = "encoder.layer.0.crossattention.self.key.weight";
  ASSERT_TRUE(checkpoint.tensors.contains("text_decoder.bert." + name));
  EXPECT_EQ(to_f32(*checkpoint.tensors.find("text_decoder.bert." + name)),
            to_f32(*checkpoint.tensors.find("text_encoder." + name)));
}

}  // namespace
}  // namespace blip::train
