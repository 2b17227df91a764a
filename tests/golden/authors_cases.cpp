// Group E: checkpoints and results of the original code.
#include <algorithm>
#include <cmath>

#include "blip/checkpoint/checkpoint.h"
#include "blip/model/position_interpolation.h"
#include "blip/tokenizer/tokenizer.h"
#include "tests/golden/decoding.h"
#include "tests/golden/forward.h"

namespace blip::golden {
namespace {

constexpr int kEncToken = 30523;

struct Case {
  explicit Case(const std::filesystem::path& path)
      : folder(path),
        manifest(read_json(folder / "manifest.json")),
        checkpoint(open_checkpoint(folder / manifest["checkpoint"].get<std::string>(),
                                   {.vision_heads = manifest["vit"]["heads"].get<int>()})),
        model(checkpoint.config, checkpoint.tensors),
        inputs(folder / "inputs.safetensors"),
        expected(folder / "expected.safetensors") {
    Computed unused;
    pictures = encode_pictures(model, inputs, "pixel_values", unused);
  }

  void expect(const std::string& name, std::span<const float> got,
              Tolerance tolerance = kHiddenStates) const {
    expect_close(got, expected.floats(name), tolerance, name);
  }
  void expect_image_embeds(const std::string& name) const { expect(name, flat(pictures)); }
  static std::vector<float> flat(std::span<const Tensor> tensors) {
    std::vector<float> all;
    for (const Tensor& t : tensors) all.insert(all.end(), t.data(), t.data() + t.size());
    return all;
  }

  std::filesystem::path folder;
  Json manifest;
  Checkpoint checkpoint;
  BlipModel model;
  Tensors inputs;
  Tensors expected;
  std::vector<Tensor> pictures;
};

/// What generate() of the original code takes when a parameter is not given.
GenerationConfig authors_defaults(int max_length, int min_length) {
  GenerationConfig config;
  config.num_beams = 3;
  config.max_length = max_length;
  config.min_length = min_length;
  config.semantics = BeamSemantics::authors;
  return config;
}

GenerationRequest authors_request(std::vector<int> prompt, const Json& params,
                                  const GenerationConfig& defaults) {
  GenerationRequest request;
  request.prompt_ids = std::move(prompt);
  request.config = generation_config(params, defaults);
  return request;
}

void check_caption_losses(const Case& c) {
  // A target [rows, columns] of -100 marks padding; real tokens are those of the mask.
  const std::vector<std::vector<int>> texts =
      unpadded_rows(c.inputs, "caption_ids", "caption_mask");
  const std::vector<int> targets = c.inputs.ints("caption_targets");
  const int vocab = c.checkpoint.config.text.vocab_size;
  Computed unused;
  std::vector<std::vector<float>> logits;
  Loss total;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    logits.push_back(decoder_logits(c.model.text_decoder(), c.pictures[i], texts[i], "", unused));
    const std::size_t columns = targets.size() / texts.size();
    const Loss loss =
        text_loss(logits[i], std::span(targets).subspan(i * columns, columns), vocab, 0.1);
    total.sum += loss.sum;
    total.count += loss.count;
  }
  expect_logits(c.expected, "", logits, vocab);
  const auto loss = static_cast<float>(total.sum / total.count);
  c.expect("loss_lm", {&loss, 1}, {0, 2e-5});
}

void check_resized_model(const Case& c, const Json& generate, const std::vector<int>& prompt) {
  Computed unused;
  const std::vector<Tensor> embeds =
      encode_pictures(c.model, c.inputs, "pixel_values_resized_model", unused);
  c.expect("resized_model_image_embeds", Case::flat(embeds));
  const VisionConfig& vision = c.checkpoint.config.vision;
  const auto width = static_cast<std::size_t>(vision.hidden_size);
  const Weight position = c.checkpoint.tensors.weight("vision_model.embeddings.position_embedding",
                                                      {1, -1, vision.hidden_size});
  const int from = vision.image_size / vision.patch_size;
  const int to =
      static_cast<int>(c.inputs.shape("pixel_values_resized_model").at(2)) / vision.patch_size;
  std::vector<float> resized(position.data(), position.data() + width);
  const std::vector<float> grid = interpolate_bicubic(position.span().subspan(width),
                                                      vision.hidden_size, {from, from}, {to, to});
  resized.insert(resized.end(), grid.begin(), grid.end());
  c.expect("resized_model_pos_embed", resized, {1e-5, 1e-5});

  const Json& resized_case = generate["resized_model"];
  const Tokenizer tokenizer = Tokenizer::bert_base_uncased();
  const std::size_t cut = generate["prompt"].get<std::string>().size();
  for (std::size_t i = 0; i < embeds.size(); ++i) {
    const auto got =
        decode(c.model.text_decoder(), embeds[i],
               authors_request(prompt, resized_case["params"], authors_defaults(30, 10)));
    EXPECT_EQ(tokenizer.decode(got[0].ids).substr(cut),
              resized_case["captions"][i].get<std::string>());
  }
}

void check_captioning(const Case& c) {
  c.expect_image_embeds("image_embeds");
  check_caption_losses(c);
  const Json generate = read_json(c.folder / "generate.json");
  const auto prompt = generate["prompt_ids"].get<std::vector<int>>();
  const std::size_t cut = generate["prompt"].get<std::string>().size();
  const Tokenizer tokenizer = Tokenizer::bert_base_uncased();
  for (const Json& one : generate["cases"]) {
    const GenerationRequest request =
        authors_request(prompt, one["params"], authors_defaults(30, 10));
    for (const Json& result : one["results"]) {
      if (!result["robust"].get<bool>()) continue;
      const auto image = result["image"].get<std::size_t>();
      const auto got = decode(c.model.text_decoder(), c.pictures.at(image), request);
      const std::string what = one["params"].dump() + " on picture " + std::to_string(image);
      EXPECT_EQ(got[0].ids, result["ids"].get<std::vector<int>>()) << what;
      // The original code cuts the prompt off by characters.
      const std::string text = tokenizer.decode(got[0].ids, {true, true});
      EXPECT_EQ(text.substr(std::min(cut, text.size())), result["caption"].get<std::string>())
          << what;
    }
  }
  for (const Json& one : generate["scored"]) {
    const auto got = decode(c.model.text_decoder(), c.pictures.at(one["image"].get<std::size_t>()),
                            authors_request(prompt, one["params"], authors_defaults(30, 10)));
    EXPECT_EQ(got[0].ids, one["ids"][0].get<std::vector<int>>());
    EXPECT_NEAR(got[0].score, one["sequences_scores"][0].get<double>(),
                1e-4 * std::fabs(got[0].score));
  }
  check_resized_model(c, generate, prompt);
}

void check_question_answering(const Case& c) {
  c.expect_image_embeds("image_embeds");
  const std::vector<std::vector<int>> questions =
      unpadded_rows(c.inputs, "question_ids", "question_mask");
  const Json generate = read_json(c.folder / "generate.json");
  const Tokenizer tokenizer = Tokenizer::bert_base_uncased();
  std::vector<float> all_states;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    const Tensor states = question_states(c.model, c.pictures[i], questions[i]);
    all_states.insert(all_states.end(), states.data(), states.data() + states.size());
    const auto got = decode(c.model.text_decoder(), states,
                            authors_request({c.checkpoint.config.text.bos_token_id},
                                            generate["params"], authors_defaults(10, 1)));
    EXPECT_EQ(got[0].ids, generate["single"][i]["ids"].get<std::vector<int>>()) << "question " << i;
    EXPECT_EQ(tokenizer.decode(got[0].ids), generate["single"][i]["answer"].get<std::string>());
  }
  expect_ragged(c.expected, "question_states", all_states, questions);
}

/// ITM logits and ITC similarities, [CLS] in front, as blip_itm gives them.
void check_retrieval(const Case& c) {
  c.expect_image_embeds("image_embeds");
  const std::vector<std::vector<int>> texts =
      unpadded_rows(c.inputs, "input_ids", "attention_mask");
  const TextEncoder& encoder = c.model.text_encoder();
  std::vector<float> itm, itc;
  for (const Tensor& picture : c.pictures) {
    const CrossKeysValues image =
        encoder.attend_to(picture.span(), static_cast<std::size_t>(picture.dim(0)), {});
    const std::vector<float> image_feat = c.model.image_feat(picture.span());
    for (const std::vector<int>& text : texts) {
      const EncoderText looking{text, &image}, alone{text, nullptr};
      for (const float v : c.model.itm_logits(encoder.forward({&looking, 1}, {}).span()))
        itm.push_back(v);
      const std::vector<float> text_feat =
          c.model.text_feat(encoder.forward({&alone, 1}, {}).span());
      double sum = 0;
      for (std::size_t k = 0; k < text_feat.size(); ++k)
        sum += double{image_feat[k]} * double{text_feat[k]};
      itc.push_back(static_cast<float>(sum));
    }
  }
  c.expect("itm_logits", itm);
  c.expect("itc_scores", itc);
}

void check_nlvr(const Case& c) {
  c.expect_image_embeds("image_embeds");
  const std::vector<std::vector<int>> texts =
      unpadded_rows(c.inputs, "input_ids", "attention_mask");
  const NlvrEncoder& encoder = c.model.nlvr_encoder();
  Computed computed;
  for (const bool swapped : {false, true}) {
    std::vector<float> logits;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const Tensor& first = c.pictures[swapped ? texts.size() + i : i];
      const Tensor& second = c.pictures[swapped ? i : texts.size() + i];
      const CrossKeysValues left =
          encoder.attend_to(0, first.span(), static_cast<std::size_t>(first.dim(0)), {});
      const CrossKeysValues right =
          encoder.attend_to(1, second.span(), static_cast<std::size_t>(second.dim(0)), {});
      const CrossKeysValues* const images[2] = {&left, &right};
      const Tensor hidden =
          encoder.forward(texts[i], images, {}, swapped ? Probe() : computed.probe("text."));
      for (const float v : c.model.nlvr_logits(hidden.span())) logits.push_back(v);
    }
    c.expect(swapped ? "logits_swapped" : "logits", logits);
  }
  for (const std::string& name : c.expected.names()) {
    if (!name.starts_with("text.hidden_states.")) continue;
    ASSERT_NE(computed.find(name), nullptr) << name;
    expect_ragged(c.expected, name, *computed.find(name), texts);
  }
}

/// The feature extractor of the same file: picture, text alone, text looking at the first picture.
void check_pretrain(const Case& c) {
  c.expect_image_embeds("features.image");
  const TextEncoder& encoder = c.model.text_encoder();
  std::vector<int> text = c.inputs.ints("features_text_ids");
  const EncoderText alone{text, nullptr};
  c.expect("features.text", encoder.forward({&alone, 1}, {}).span());
  text[0] = kEncToken;
  const CrossKeysValues image =
      encoder.attend_to(c.pictures[0].span(), static_cast<std::size_t>(c.pictures[0].dim(0)), {});
  const EncoderText looking{text, &image};
  c.expect("features.multimodal", encoder.forward({&looking, 1}, {}).span());
}

void check_folder(const std::filesystem::path& folder) {
  const Case c(folder);
  switch (c.checkpoint.config.architecture) {
    case Architecture::captioning:
      return check_captioning(c);
    case Architecture::question_answering:
      return check_question_answering(c);
    case Architecture::retrieval:
      return check_retrieval(c);
    case Architecture::nlvr:
      return check_nlvr(c);
    case Architecture::pretrain:
      return check_pretrain(c);
    default:
      FAIL() << "no rule for the architecture of " << folder;
  }
}

}  // namespace

void register_authors() {
  for (const std::filesystem::path& folder : case_folders("E_original")) {
    add_test("E_original", folder.filename().string(), [folder] { check_folder(folder); });
  }
}

}  // namespace blip::golden
