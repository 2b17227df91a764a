// The engine and the trainer on one checkpoint: every layer and the logits of every task.
#include <gtest/gtest.h>

#include <array>

#include "blip/checkpoint/checkpoint.h"
#include "blip/model/blip.h"
#include "tests/train/case.h"
#include "train/model/caption.h"
#include "train/model/nlvr.h"
#include "train/model/pretrain.h"
#include "train/model/retrieval.h"
#include "train/model/vqa.h"
#include "train/model/weights.h"

namespace blip::train::testing {
namespace {

using Torch = torch::Tensor;
using Layers = std::map<std::string, Torch>;

constexpr double kTolerance = 2e-4;

/// An engine and a trainer that have read the same checkpoint.
template <class T>
struct Pair {
  explicit Pair(const std::string& folder)
      : c(folder),
        checkpoint(open_checkpoint(c.checkpoint(), authors(c))),
        engine(checkpoint.config, checkpoint.tensors),
        task(c.options()) {
    EXPECT_TRUE(load_checkpoint(task, c.checkpoint()).missing.empty());
    task.eval();
  }
  static AuthorsOptions authors(const Case& c) {
    if (!c.manifest.contains("vit")) return {};
    return {.vision_heads = c.manifest["vit"]["heads"].get<int>()};
  }

  Case c;
  Checkpoint checkpoint;
  BlipModel engine;
  T task;
};

Torch as_torch(std::span<const float> values, const Shape& shape) {
  return torch::from_blob(const_cast<float*>(values.data()), shape).clone();
}

Torch as_torch(std::span<const float> values) {
  return as_torch(values, {static_cast<std::int64_t>(values.size())});
}

blip::Probe keep_engine(Layers& layers) {
  return [&](std::string_view name, std::span<const float> values, const Shape& shape) {
    layers[std::string(name)] = as_torch(values, shape);
  };
}

train::Probe keep(Layers& layers) {
  return [&](const std::string& name, const Torch& values) { layers[name] = values.detach(); };
}

void expect_same(const Layers& got, const Layers& wanted, std::size_t count) {
  EXPECT_EQ(got.size(), count);
  for (const auto& [name, values] : got) {
    ASSERT_TRUE(wanted.contains(name)) << name;
    expect_close(values, wanted.at(name), kTolerance, kTolerance, name);
  }
}

/// image_embeds [N, D] of one picture by the engine.
Torch engine_embeds(const BlipModel& engine, const Torch& pixels, Layers& layers) {
  const Torch plain = pixels.contiguous();
  const int height = static_cast<int>(pixels.size(-2)), width = static_cast<int>(pixels.size(-1));
  blip::Tensor embeds(
      Shape{engine.vision().num_tokens(height, width), engine.vision().config().hidden_size});
  engine.vision().forward({plain.data_ptr<float>(), static_cast<std::size_t>(plain.numel())},
                          height, width, embeds.span(), {}, keep_engine(layers));
  return as_torch(embeds.span(), embeds.shape());
}

std::span<const float> span_of(const Torch& values) {
  return {values.data_ptr<float>(), static_cast<std::size_t>(values.numel())};
}

/// The tokens of a row without its padding.
std::vector<int> tokens(const Torch& ids, const Torch& mask) {
  const Torch kept = ids.masked_select(mask != 0).to(torch::kInt).contiguous();
  return {kept.data_ptr<int>(), kept.data_ptr<int>() + kept.numel()};
}

Torch row(const std::vector<int>& ids) {
  return torch::tensor(ids).to(torch::kLong).unsqueeze(0);
}

/// Layers of the ViT on picture `i`; returns its image_embeds [1, N, D] by the trainer.
template <class T>
Torch expect_same_vision(const Pair<T>& pair, std::int64_t i, Torch& engine) {
  const Torch pixels = pair.c.inputs("pixel_values").slice(0, i, i + 1);
  Layers got, wanted;
  const Torch embeds = pair.task.vision().forward(pixels, false, keep(got));
  engine = engine_embeds(pair.engine, pixels[0], wanted);
  expect_same(got, wanted,
              static_cast<std::size_t>(pair.checkpoint.config.vision.num_hidden_layers) + 1);
  expect_close(embeds, engine, kTolerance, kTolerance, "image_embeds");
  return embeds;
}

template <class T>
std::size_t text_layers(const Pair<T>& pair) {
  return static_cast<std::size_t>(pair.checkpoint.config.text.num_hidden_layers) + 1;
}

/// Layers and logits of the decoder that looks at `states`.
template <class T>
void expect_same_decoder(const Pair<T>& pair, const std::vector<int>& ids, const Torch& states,
                         const Torch& engine_states) {
  Layers got, wanted;
  const Torch input = row(ids);
  const Torch logits =
      pair.task.decoder().logits({input, torch::ones_like(input), true},
                                 pair.task.decoder().attend_to(states), false, keep(got));
  const blip::TextDecoder& decoder = pair.engine.text_decoder();
  const CrossKeysValues sight = decoder.attend_to(
      span_of(engine_states), static_cast<std::size_t>(engine_states.size(0)), {});
  DecoderState state(decoder.config());
  std::vector<float> values(static_cast<std::size_t>(logits.numel()));
  const DecoderRow one{-1, ids, &sight};
  decoder.step_all_logits(state, {&one, 1}, values, {}, keep_engine(wanted));
  expect_same(got, wanted, text_layers(pair));
  expect_close(logits, as_torch(values), kTolerance, kTolerance, "logits");
}

/// Layers of the text encoder looking at a picture, or at nothing; returns its states [T, D].
template <class T>
Torch expect_same_encoder(const Pair<T>& pair, const Med& med, const std::vector<int>& ids,
                          const Torch* states, const Torch* engine_states, Torch& engine) {
  Layers got, wanted;
  const Torch input = row(ids);
  const Texts texts{input, torch::ones_like(input)};
  const Sight sight = states == nullptr ? Sight() : med.project(*states);
  const Torch hidden = med.forward(texts, states == nullptr ? nullptr : &sight, false, keep(got));

  const blip::TextEncoder& encoder = pair.engine.text_encoder();
  CrossKeysValues keys_values;
  EncoderText text{ids};
  if (engine_states != nullptr) {
    keys_values = encoder.attend_to(span_of(*engine_states),
                                    static_cast<std::size_t>(engine_states->size(0)), {});
    text.image = &keys_values;
  }
  const blip::Tensor output = encoder.forward({&text, 1}, {}, keep_engine(wanted));
  expect_same(got, wanted, text_layers(pair));
  engine = as_torch(output.span(), output.shape());
  return hidden;
}

TEST(Parity, Caption) {
  const Pair<Captioner> pair("C_hf/caption");
  for (std::int64_t i = 0; i < 3; ++i) {
    Torch engine;
    const Torch embeds = expect_same_vision(pair, i, engine);
    const auto ids = tokens(pair.c.inputs("input_ids")[i], pair.c.inputs("attention_mask")[i]);
    expect_same_decoder(pair, ids, embeds, engine);
  }
}

/// ITC and ITM.
template <class T>
void expect_same_matching(const Pair<T>& pair) {
  for (std::int64_t i = 0; i < 4; ++i) {
    Torch engine, unused;
    const Torch embeds = expect_same_vision(pair, i, engine);
    const FeatureEncoders& encoders = pair.task.encoders();
    expect_close(encoders.image_features(embeds), as_torch(pair.engine.image_feat(span_of(engine))),
                 kTolerance, kTolerance, "image_feat");
    std::vector<int> ids =
        tokens(pair.c.inputs("input_ids")[i], pair.c.inputs("attention_mask")[i]);
    const Torch alone = expect_same_encoder(pair, encoders.text(), ids, nullptr, nullptr, unused);
    expect_close(encoders.text_features(alone), as_torch(pair.engine.text_feat(span_of(unused))),
                 kTolerance, kTolerance, "text_feat");
    ids[0] = 30523;
    const Torch seeing = expect_same_encoder(pair, encoders.text(), ids, &embeds, &engine, unused);
    const std::array<float, 2> logits = pair.engine.itm_logits(span_of(unused));
    expect_close(pair.task.itm_head()(seeing.select(1, 0)), as_torch(logits), kTolerance,
                 kTolerance, "itm_logits");
  }
}

TEST(Parity, Retrieval) {
  expect_same_matching(Pair<Retrieval>("C_hf/retrieval"));
}

TEST(Parity, Pretrain) {
  const Pair<Pretrain> pair("E_original/pretrain");
  expect_same_matching(pair);
  for (std::int64_t i = 0; i < 4; ++i) {
    Torch engine;
    const Torch embeds = expect_same_vision(pair, i, engine);
    auto ids = tokens(pair.c.inputs("input_ids")[i], pair.c.inputs("attention_mask")[i]);
    ids[0] = 30522;
    expect_same_decoder(pair, ids, embeds, engine);
  }
}

TEST(Parity, Vqa) {
  const Pair<Vqa> pair("C_hf/vqa");
  for (std::int64_t i = 0; i < 3; ++i) {
    Torch engine, engine_states;
    const Torch embeds = expect_same_vision(pair, i, engine);
    const auto question = tokens(pair.c.inputs("input_ids")[i], pair.c.inputs("attention_mask")[i]);
    const Torch states = expect_same_encoder(pair, pair.task.text_encoder(), question, &embeds,
                                             &engine, engine_states);
    const auto answer =
        tokens(pair.c.inputs("decoder_input_ids")[i], pair.c.inputs("decoder_attention_mask")[i]);
    expect_same_decoder(pair, answer, states, engine_states);
  }
}

TEST(Parity, Nlvr) {
  const Pair<Nlvr> pair("E_original/nlvr");
  const Torch pixels = pair.c.inputs("pixel_values");
  for (std::int64_t i = 0; i < 3; ++i) {
    std::array<Torch, 2> engine;
    expect_same_vision(pair, i, engine[0]);
    expect_same_vision(pair, i + 3, engine[1]);
    std::vector<int> ids =
        tokens(pair.c.inputs("input_ids")[i], pair.c.inputs("attention_mask")[i]);
    ids[0] = 30523;
    Batch batch;
    batch.pixel_values = at::stack({pixels[i], pixels[i + 3]});
    batch.input_ids = row(ids);
    batch.attention_mask = torch::ones_like(batch.input_ids);
    Layers got, wanted;
    const Torch logits = pair.task.logits(batch, [&](const std::string& name, const Torch& values) {
      if (name.starts_with("text.")) got[name] = values;
    });

    const blip::NlvrEncoder& encoder = pair.engine.nlvr_encoder();
    const auto count = static_cast<std::size_t>(engine[0].size(0));
    const CrossKeysValues left = encoder.attend_to(0, span_of(engine[0]), count, {});
    const CrossKeysValues right = encoder.attend_to(1, span_of(engine[1]), count, {});
    const std::array<const CrossKeysValues*, 2> images = {&left, &right};
    const blip::Tensor states = encoder.forward({&ids, 1}, images, {}, keep_engine(wanted));
    expect_same(got, wanted, text_layers(pair));
    expect_close(logits, as_torch(pair.engine.nlvr_logits(states.span())), kTolerance, kTolerance,
                 "nlvr_logits");
  }
}

}  // namespace
}  // namespace blip::train::testing
