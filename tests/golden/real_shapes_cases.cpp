// Group F: BLIP-base and BLIP-large with weights made from a seed, so that nothing large is stored.
#include <bit>
#include <cmath>
#include <cstring>

#include "blip/image/decode.h"
#include "blip/image/image_processor.h"
#include "blip/tokenizer/tokenizer.h"
#include "tests/golden/decoding.h"
#include "tests/golden/forward.h"

namespace blip::golden {
namespace {

std::uint64_t hash_of(const std::string& name) {
  std::uint64_t h = 0xCBF29CE484222325u;
  for (const unsigned char byte : name) h = (h ^ byte) * 0x100000001B3u;
  return h;
}

/// The recipe of the manifest: element i of a tensor from its name, the seed, and i alone.
struct Recipe {
  std::uint64_t base;
  float offset;
  float scale;

  float operator()(std::uint64_t i) const {
    std::uint64_t x = base + i + 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    x = x ^ (x >> 31);
    const float u = static_cast<float>(x >> 40) * 0x1p-24f - 0.5f;
    return u * scale + offset;
  }
};

/// Makes one tensor and holds it to the values that the probe gives of it.
StoredTensor make_tensor(const Json& probe, std::uint64_t seed) {
  const std::string name = probe.at("name").get<std::string>();
  const Recipe recipe{hash_of(name) ^ (seed * 0x9E3779B97F4A7C15u),
                      probe.at("offset_scale").at(0).get<float>(),
                      probe.at("offset_scale").at(1).get<float>()};
  StoredTensor tensor;
  tensor.shape = probe.at("shape").get<Shape>();
  const std::size_t count = element_count(tensor.shape);
  const auto values = std::make_shared<FloatBuffer>(count);
#pragma omp parallel for
  for (std::size_t i = 0; i < count; ++i) values->data()[i] = recipe(i);
  if (name == "text_decoder.cls.predictions.bias") {
    for (std::size_t i = 0; i <= 998; ++i) values->data()[i] = -25;
    for (std::size_t i = 30522; i <= 30523; ++i) values->data()[i] = -25;
  }
  EXPECT_EQ(values->data()[count - 1], probe.at("last").get<float>()) << name;
  for (std::size_t i = 0; i < probe.at("first4").size(); ++i) {
    EXPECT_EQ(values->data()[i], probe.at("first4").at(i).get<float>()) << name;
  }
  tensor.bytes = std::as_bytes(std::span<const float>(values->span()));
  tensor.keep_alive = values;
  return tensor;
}

TensorStore make_checkpoint(const std::filesystem::path& folder) {
  const Json probes = read_json(folder / "weights_probe.json");
  TensorStore tensors;
  for (const Json& probe : probes.at("tensors")) {
    tensors.add(probe.at("name").get<std::string>(),
                make_tensor(probe, probes.at("seed").get<std::uint64_t>()));
  }
  return tensors;
}

std::filesystem::path picture_of(const std::filesystem::path& folder) {
  const std::filesystem::path own = folder / "input.jpg";
  return std::filesystem::exists(own) ? own : resolve("B_image/jpg_photo_astronaut/input.jpg");
}

std::vector<float> rows(std::span<const float> matrix, std::size_t width,
                        const std::vector<std::size_t>& which, std::size_t keep) {
  std::vector<float> out;
  for (const std::size_t r : which) {
    const auto row = matrix.subspan(r * width, keep);
    out.insert(out.end(), row.begin(), row.end());
  }
  return out;
}

std::vector<float> row_means(std::span<const float> matrix, std::size_t width, bool absolute) {
  std::vector<float> out;
  for (std::size_t r = 0; r * width < matrix.size(); ++r) {
    double sum = 0;
    for (const float v : matrix.subspan(r * width, width))
      sum += absolute ? std::fabs(double{v}) : double{v};
    out.push_back(static_cast<float>(sum / static_cast<double>(width)));
  }
  return out;
}

/// Mean and population standard deviation of a layer's output.
std::array<float, 2> mean_std(std::span<const float> x) {
  double mean = 0, square = 0;
  for (const float v : x) mean += double{v};
  mean /= static_cast<double>(x.size());
  for (const float v : x) square += (double{v} - mean) * (double{v} - mean);
  return {static_cast<float>(mean),
          static_cast<float>(std::sqrt(square / static_cast<double>(x.size())))};
}

void check_vision(const Tensors& expected, const std::vector<std::size_t>& token_rows,
                  const Computed& computed, std::size_t width) {
  constexpr Tolerance kVision{5e-3, 0};
  const std::vector<float> statistics = expected.floats("vision.hidden_states.mean_std");
  for (std::size_t layer = 0; 2 * layer < statistics.size(); ++layer) {
    const std::string name = "vision.hidden_states." + std::to_string(layer);
    const std::vector<float>* states = computed.find(name);
    ASSERT_NE(states, nullptr) << name;
    expect_close(mean_std(*states), std::span(statistics).subspan(2 * layer, 2), kVision,
                 name + " mean and deviation");
    if (!expected.contains(name + ".tokens")) continue;
    const auto keep = static_cast<std::size_t>(expected.shape(name + ".tokens").at(1));
    expect_close(rows(*states, width, token_rows, keep), expected.floats(name + ".tokens"), kVision,
                 name);
  }
  const std::string last = "vision.last_hidden_state";
  expect_close(rows(*computed.find(last), width, token_rows, width),
               expected.floats(last + ".tokens"), kVision, last);
  expect_close(row_means(*computed.find(last), width, false), expected.floats(last + ".row_mean"),
               kVision, last + " means");
  expect_close(row_means(*computed.find(last), width, true), expected.floats(last + ".row_absmean"),
               kVision, last + " absolute means");
}

void check_logits(const Tensors& expected, const std::vector<float>& logits, std::size_t vocab) {
  constexpr Tolerance kLogits{2e-2, 0};
  const std::vector<int> top_ids = expected.ints("text.logits_top16_ids");
  std::vector<float> every61, top16, sums;
  for (std::size_t t = 0; t * vocab < logits.size(); ++t) {
    const std::span<const float> token = std::span(logits).subspan(t * vocab, vocab);
    double sum = 0;
    for (std::size_t i = 0; i < vocab; ++i) {
      if (i % 61 == 0) every61.push_back(token[i]);
      sum += std::exp(double{token[i]});
    }
    for (std::size_t k = 0; k < 16; ++k)
      top16.push_back(token[static_cast<std::size_t>(top_ids.at(t * 16 + k))]);
    sums.push_back(static_cast<float>(std::log(sum)));
  }
  expect_close(every61, expected.floats("text.logits_every61"), kLogits, "logits");
  expect_close(top16, expected.floats("text.logits_top16_values"), kLogits, "top 16 logits");
  expect_close(sums, expected.floats("text.logits_logsumexp"), kLogits, "log-sum-exp of logits");
}

void check_generation(const Json& manifest, const TextDecoder& decoder, const Tensor& states) {
  const Tokenizer tokenizer = Tokenizer::bert_base_uncased();
  for (const Json& c : manifest.at("generate")) {
    if (!value_or(c, "robust_1e-3_noise", true)) continue;
    const Json prompt = c.at("prompt").is_null()
                            ? Json()
                            : Json(tokenizer.encode(c.at("prompt").get<std::string>()));
    GenerationRequest request;
    request.prompt_ids = decoder_prompt(decoder.config(), prompt);
    request.config = generation_config(c.at("params"));
    const Hypothesis got = decode(decoder, states, request).front();
    EXPECT_EQ(got.ids, without_padding(c.at("ids").get<std::vector<int>>(),
                                       request.prompt_ids.size(), request.eos_id))
        << c.at("params");
    EXPECT_EQ(tokenizer.decode(got.ids), c.at("text").get<std::string>());
  }
}

void check_folder(const std::filesystem::path& folder) {
  const Json manifest = read_json(folder / "manifest.json");
  const Tensors expected(folder / "expected.safetensors");
  Json config_json = manifest.at("config");
  config_json["model_type"] = "blip";
  config_json["architectures"] = {"BlipForConditionalGeneration"};
  const BlipConfig config = BlipConfig::from_json(config_json);
  const BlipModel model(config, make_checkpoint(folder));
  if (testing::Test::HasFailure()) return;  // other weights than the reference's

  ImageProcessorConfig size;
  size.height = size.width = config.vision.image_size;
  const Tensor pixel_values =
      ImageProcessor(size).process(std::vector<Image>{load_image(picture_of(folder))});
  EXPECT_EQ(sha256(std::as_bytes(pixel_values.span())), manifest.at("pixel_values_sha256"));

  Computed computed;
  Tensor embeds({model.vision().num_tokens(size.height, size.width), config.vision.hidden_size});
  model.vision().forward(pixel_values.span(), size.height, size.width, embeds.span(), {},
                         computed.probe("vision."));
  check_vision(expected, manifest.at("vision_token_rows").get<std::vector<std::size_t>>(), computed,
               static_cast<std::size_t>(config.vision.hidden_size));

  const auto prompt = manifest.at("prompt_ids_used").get<std::vector<int>>();
  check_logits(expected, decoder_logits(model.text_decoder(), embeds, prompt, "text.", computed),
               static_cast<std::size_t>(config.text.vocab_size));
  const std::string ends = "text.hidden_states.first_and_last";
  const auto keep = static_cast<std::size_t>(expected.shape(ends).at(2));
  std::vector<float> states;
  for (const int layer : {0, config.text.num_hidden_layers}) {
    const std::vector<float>& all = *computed.find("text.hidden_states." + std::to_string(layer));
    for (std::size_t t = 0; t < prompt.size(); ++t) {
      const float* row = all.data() + t * static_cast<std::size_t>(config.text.hidden_size);
      states.insert(states.end(), row, row + keep);
    }
  }
  expect_close(states, expected.floats(ends), {5e-3, 0}, ends);
  check_generation(manifest, model.text_decoder(), embeds);
}

}  // namespace

void register_real_shapes() {
  for (const std::filesystem::path& folder : case_folders("F_real_shapes")) {
    add_test("F_real_shapes", folder.filename().string(), [folder] { check_folder(folder); });
  }
}

}  // namespace blip::golden
