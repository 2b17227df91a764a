// Group C: tiny transformers checkpoints, every layer's hidden states, logits, losses, scores.
#include <cmath>
#include <map>

#include "blip/base/error.h"
#include "blip/checkpoint/checkpoint.h"
#include "blip/tasks/features.h"
#include "blip/tasks/matching.h"
#include "blip/tasks/vqa.h"
#include "blip/tokenizer/tokenizer.h"
#include "tests/golden/forward.h"

namespace blip::golden {
namespace {

/// One checkpoint with its inputs, expected values and what was computed so far.
struct Case {
  explicit Case(const std::filesystem::path& folder)
      : engine(Engine::load(folder,
                            {.precision = Precision::f32, .tokenizer = resolve("tokenizer_hf")})),
        checkpoint(engine.checkpoint()),
        model(engine.model()),
        manifest(read_json(folder / "manifest.json")),
        inputs(folder / "inputs.safetensors"),
        expected(folder / "expected.safetensors") {}

  Engine engine;
  const Checkpoint& checkpoint;
  const BlipModel& model;
  Json manifest;
  Tensors inputs;
  Expected expected;
  Computed computed;
};

float scalar(double value) {
  return static_cast<float>(value);
}

void check_vision_at(Case& c, const std::string& pixel_values, const std::string& name) {
  if (!c.inputs.contains(pixel_values)) return;
  Computed scratch;
  std::vector<float> got;
  for (const Tensor& embeds : encode_pictures(c.model, c.inputs, pixel_values, scratch)) {
    got.insert(got.end(), embeds.data(), embeds.data() + embeds.size());
  }
  c.expected.expect(name, got);
}

constexpr Tolerance kLoss{0, 1e-5};

void check_caption_losses(Case& c, const std::vector<std::vector<float>>& logits) {
  const int vocab = c.checkpoint.config.text.vocab_size;
  const auto check = [&](const char* name, const char* labels, double smoothing) {
    if (!c.inputs.contains(labels)) return;
    const float loss = mean_loss(text_losses(logits, c.inputs.ints(labels), vocab, smoothing));
    c.expected.expect(name, {&loss, 1}, kLoss);
  };
  check("loss_smoothing_0.1", "labels", 0.1);
  check("loss_smoothing_0.1_prompt_masked", "labels_prompt_masked", 0.1);
  check("loss_smoothing_0.0", "labels", 0.0);
  if (!c.inputs.contains("labels")) return;
  std::vector<float> sums;
  for (const Loss& loss : text_losses(logits, c.inputs.ints("labels"), vocab, 0.1))
    sums.push_back(scalar(loss.sum));
  c.expected.expect("loss_per_sequence_reduction_none", sums, kLoss);
}

/// "logits_last_full" is the last column of the first text.
void expect_last_logits(Case& c, const std::string& prefix,
                        const std::vector<std::vector<int>>& texts,
                        const std::vector<std::vector<float>>& logits, std::size_t columns) {
  if (texts.at(0).size() == columns) {
    const auto vocab = static_cast<std::size_t>(c.checkpoint.config.text.vocab_size);
    c.expected.expect(prefix + "logits_last_full", std::span(logits.at(0)).last(vocab));
  } else {
    c.expected.leave_out(prefix + "logits_last_full");  // padding there: without meaning
  }
}

void check_captioning(Case& c) {
  const std::vector<Tensor> embeds = encode_pictures(c.model, c.inputs, "pixel_values", c.computed);
  c.expected.expect_computed("vision.", c.computed);
  check_vision_at(c, "pixel_values_larger", "interpolated.last_hidden_state");
  check_vision_at(c, "pixel_values_rect", "interpolated_rect.last_hidden_state");

  const std::vector<std::vector<int>> texts =
      unpadded_rows(c.inputs, "input_ids", "attention_mask");
  std::vector<std::vector<float>> logits;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    logits.push_back(
        decoder_logits(c.model.text_decoder(), embeds.at(i), texts[i], "text.", c.computed));
  }
  c.expected.expect_computed("text.", c.computed, texts);
  c.expected.expect_logits("text.", logits, c.checkpoint.config.text.vocab_size);
  expect_last_logits(c, "text.", texts, logits,
                     static_cast<std::size_t>(c.inputs.shape("input_ids").at(1)));
  check_caption_losses(c, logits);
  c.expected.leave_out("grad.");  // the engine has no gradients
  c.expected.expect_all_compared();
}

/// Each answer's logits when its decoder looks at its question's states.
void check_answers(Case& c, std::span<const Tensor> states, const std::string& prefix) {
  if (!c.inputs.contains("decoder_input_ids")) return;
  const std::vector<std::vector<int>> answers =
      unpadded_rows(c.inputs, "decoder_input_ids", "decoder_attention_mask");
  const int vocab = c.checkpoint.config.text.vocab_size;
  if (answers.size() > states.size()) throw Error(ErrorCode::bad_model, "answers without question");
  std::vector<std::vector<float>> logits;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    logits.push_back(decoder_logits(c.model.text_decoder(), states[i], answers[i],
                                    prefix + "answer.", c.computed));
  }
  c.expected.expect_logits(prefix + "answer.", logits, vocab);
  expect_last_logits(c, prefix + "answer.", answers, logits,
                     static_cast<std::size_t>(c.inputs.shape("decoder_input_ids").at(1)));
  if (!c.inputs.contains("labels")) return;
  const float loss = mean_loss(text_losses(logits, c.inputs.ints("labels"), vocab, 0.1));
  c.expected.expect(prefix + "loss", {&loss, 1}, kLoss);
}

/// Questions through the text encoder, each padded to `columns` as the reference's batch is (0: not
/// padded), intermediates appended under `prefix`.
std::vector<Tensor> encode_questions(Case& c, std::span<const Tensor> embeds,
                                     std::vector<std::vector<int>> questions, std::size_t columns,
                                     const std::string& prefix) {
  const TextEncoder& encoder = c.model.text_encoder();
  std::vector<Tensor> states;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    const CrossKeysValues image =
        encoder.attend_to(embeds[i].span(), static_cast<std::size_t>(embeds[i].dim(0)), {});
    const std::size_t padding = columns == 0 ? 0 : columns - questions[i].size();
    questions[i].resize(questions[i].size() + padding);
    const EncoderText text{questions[i], &image, padding};
    states.push_back(encoder.forward({&text, 1}, {}, c.computed.probe(prefix)));
  }
  return states;
}

/// The manifest's candidates for each question, by the task: the probabilities of their first
/// tokens, the rank_k best of these, and their scores.
void check_ranking(Case& c, const std::string& prefix, const QuestionOptions& options) {
  if (!c.expected.contains(prefix + "scores")) return;
  const QuestionAnswerer answerer(c.engine);
  const std::vector<EncodedImage> images = encode_for_tasks(c.engine, c.inputs, "pixel_values");
  const auto texts = c.manifest.at("questions").get<std::vector<std::string>>();
  std::vector<Question> questions;
  for (std::size_t i = 0; i < texts.size(); ++i) questions.push_back({images.at(i), texts[i]});
  const auto candidates = c.manifest.at("candidates").get<std::vector<std::string>>();
  const AnswerList list = answerer.encode_answers(candidates);
  ASSERT_EQ(list.entries.size(), candidates.size());
  const int k = c.manifest.at("rank_k").get<int>();
  const auto all = answerer.rank(questions, list, {options, static_cast<int>(candidates.size())});
  const auto best = answerer.rank(questions, list, {options, k});

  std::vector<float> first_token_probs, scores;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    std::vector<float> of_question(candidates.size());
    for (const Answer& answer : all[i].answers)
      of_question[answer.index] = std::exp(answer.tokens.at(0).logprob);
    first_token_probs.insert(first_token_probs.end(), of_question.begin(), of_question.end());
    std::map<int, float> score_of;
    for (const Answer& answer : best[i].answers)
      score_of[static_cast<int>(answer.index)] = scalar(answer.score);
    const std::vector<int> topk = c.expected.ints(prefix + "topk_ids");
    for (const int id : std::span(topk).subspan(i * static_cast<std::size_t>(k), score_of.size())) {
      EXPECT_TRUE(score_of.contains(id)) << prefix << candidates.at(static_cast<std::size_t>(id));
      scores.push_back(score_of[id]);
    }
    EXPECT_EQ(best[i].answers.at(0).index, c.expected.ints(prefix + "best").at(i)) << texts[i];
  }
  c.expected.expect(prefix + "first_token_probs", first_token_probs, {1e-6, 2e-4});
  c.expected.expect(prefix + "scores", scores);
}

void check_question_answering(Case& c) {
  const std::vector<Tensor> embeds = encode_pictures(c.model, c.inputs, "pixel_values", c.computed);
  c.expected.expect_computed("vision.", c.computed);
  const std::vector<std::vector<int>> questions =
      unpadded_rows(c.inputs, "input_ids", "attention_mask");
  std::vector<std::vector<int>> with_enc = questions;
  for (std::vector<int>& question : with_enc) question.at(0) = kEncToken;
  encode_questions(c, embeds, with_enc, 0, "enc_token.question.");
  const std::vector<Tensor> states = encode_questions(c, embeds, questions, 0, "question.");
  c.expected.expect_computed("question.", c.computed, questions);
  c.expected.expect_computed("enc_token.question.", c.computed, questions);
  check_answers(c, states, "");
  // transformers 5.23 lets the decoder see the padding: see docs/numerics.md
  const auto columns = static_cast<std::size_t>(c.inputs.shape("input_ids").at(1));
  check_answers(c, encode_questions(c, embeds, questions, columns, "padded."), "hf_5_23.");
  for (const bool mask : {false, true}) {
    const std::string prefix = mask ? "hf_5_23." : "";
    check_ranking(c, prefix + "rank.", {.reference_mask = mask});
    check_ranking(c, prefix + "enc_token.rank.",
                  {.first_token = FirstToken::enc, .reference_mask = mask});
  }
  c.expected.expect_all_compared();
}

void check_retrieval(Case& c) {
  const std::vector<Tensor> embeds = encode_pictures(c.model, c.inputs, "pixel_values", c.computed);
  c.expected.expect_computed("vision.", c.computed);
  const std::vector<std::vector<int>> texts =
      unpadded_rows(c.inputs, "input_ids", "attention_mask");
  std::vector<float> states;
  for (const std::vector<int>& text : texts) {
    const EncoderText one{text, nullptr};
    const Tensor hidden = c.model.text_encoder().forward({&one, 1}, {});
    states.insert(states.end(), hidden.data(), hidden.data() + hidden.size());
  }
  c.expected.expect_ragged("text_only.last_hidden_state", states, texts);

  const auto words = c.manifest.at("texts").get<std::vector<std::string>>();
  const std::vector<EncodedImage> images = encode_for_tasks(c.engine, c.inputs, "pixel_values");
  const MatchScores cls = match_all(c.engine, images, words, {.itm_token = FirstToken::cls});
  c.expected.expect("itm_logits", cls.itm_logits);
  c.expected.expect("itm_match_probability", cls.itm_probability);
  c.expected.expect("itc_scores", cls.itc_similarity);
  c.expected.expect("itm_logits_with_enc_token", match_all(c.engine, images, words, {}).itm_logits);
  const FeatureExtractor extractor(c.engine);
  c.expected.expect("image_feat", extractor.image_features(images, FeatureKind::normalised).values);
  c.expected.expect("text_feat", extractor.text_features(words, {}).values);

  std::vector<std::vector<int>> first_twelve = texts;
  const CrossKeysValues first = c.model.text_encoder().attend_to(
      embeds.at(0).span(), static_cast<std::size_t>(embeds.at(0).dim(0)), {});
  for (std::vector<int>& text : first_twelve) {
    text.resize(std::min<std::size_t>(text.size(), 12));
    const EncoderText one{text, &first};
    c.model.text_encoder().forward({&one, 1}, {}, c.computed.probe("multimodal_image0."));
  }
  c.expected.expect_computed("multimodal_image0.", c.computed, first_twelve);
  c.expected.expect_all_compared();
}

/// Mean cross-entropy of the diagonal over rows, as CLIP's loss takes it.
double diagonal_loss(const std::vector<float>& logits, std::size_t n, bool by_column) {
  double loss = 0;
  for (std::size_t i = 0; i < n; ++i) {
    double sum = 0;
    for (std::size_t j = 0; j < n; ++j)
      sum += std::exp(double{by_column ? logits[j * n + i] : logits[i * n + j]});
    loss += std::log(sum) - double{logits[i * n + i]};
  }
  return loss / static_cast<double>(n);
}

void check_dual_encoder(Case& c) {
  encode_pictures(c.model, c.inputs, "pixel_values", c.computed);
  c.expected.expect_computed("vision.", c.computed);
  const std::vector<std::vector<int>> texts =
      unpadded_rows(c.inputs, "input_ids", "attention_mask");
  std::vector<float> pooled, states;
  for (const std::vector<int>& text : texts) {
    const EncoderText alone{text, nullptr};
    const Tensor hidden = c.model.text_encoder().forward({&alone, 1}, {});
    states.insert(states.end(), hidden.data(), hidden.data() + hidden.size());
    const std::vector<float> pooler = c.model.text_pooler(hidden.span());
    pooled.insert(pooled.end(), pooler.begin(), pooler.end());
  }
  c.expected.expect("text_pooler_output", pooled);
  c.expected.expect_ragged("text_last_hidden_state", states, texts);

  const auto words = c.manifest.at("texts").get<std::vector<std::string>>();
  const std::vector<EncodedImage> images = encode_for_tasks(c.engine, c.inputs, "pixel_values");
  const FeatureExtractor extractor(c.engine);
  const auto expect_images = [&](const char* name, FeatureKind kind) {
    c.expected.expect(name, extractor.image_features(images, kind).values);
  };
  const auto expect_texts = [&](const char* name, FeatureKind kind) {
    c.expected.expect(name, extractor.text_features(words, {.kind = kind}).values);
  };
  expect_images("image_embeds", FeatureKind::normalised);
  expect_images("image_features_unnormalised", FeatureKind::projected);
  expect_texts("text_embeds", FeatureKind::normalised);
  expect_texts("text_features_unnormalised", FeatureKind::projected);
  std::vector<float> multimodal;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const Features pair = extractor.multimodal_features(images.at(i), {&words[i], 1},
                                                        {.kind = FeatureKind::projected});
    multimodal.insert(multimodal.end(), pair.values.begin(), pair.values.end());
  }
  c.expected.expect("multimodal_features", multimodal);

  const double scale = std::exp(double{c.checkpoint.tensors.weight("logit_scale", {}).data()[0]});
  std::vector<float> per_image = match_all(c.engine, images, words, {.itm = false}).itc_similarity;
  const std::size_t n = words.size();
  std::vector<float> per_text(per_image.size());
  for (std::size_t i = 0; i < per_image.size(); ++i) {
    per_image[i] = scalar(scale * double{per_image[i]});
    per_text[i % n * n + i / n] = per_image[i];
  }
  c.expected.expect("logits_per_image", per_image);
  c.expected.expect("logits_per_text", per_text);
  const float loss =
      scalar((diagonal_loss(per_image, n, false) + diagonal_loss(per_image, n, true)) / 2);
  c.expected.expect("loss", {&loss, 1}, kLoss);
  c.expected.expect_all_compared();
}

void check_folder(const std::filesystem::path& folder) {
  Case c(folder);
  switch (c.checkpoint.config.architecture) {
    case Architecture::captioning:
      return check_captioning(c);
    case Architecture::question_answering:
      return check_question_answering(c);
    case Architecture::retrieval:
      return check_retrieval(c);
    case Architecture::dual_encoder:
      return check_dual_encoder(c);
    default:
      FAIL() << "no rule for the architecture of " << folder;
  }
}

}  // namespace

void register_forward() {
  for (const std::filesystem::path& folder : case_folders("C_hf")) {
    add_test("C_hf", folder.filename().string(), [folder] { check_folder(folder); });
  }
}

}  // namespace blip::golden
