// Group E: checkpoints and results of the original code.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "blip/base/error.h"
#include "blip/checkpoint/checkpoint.h"
#include "blip/model/position_interpolation.h"
#include "blip/tasks/features.h"
#include "blip/tasks/nlvr.h"
#include "blip/tasks/vqa.h"
#include "blip/tokenizer/tokenizer.h"
#include "tests/golden/decoding.h"
#include "tests/golden/forward.h"

namespace blip::golden {
namespace {

struct Case {
  explicit Case(const std::filesystem::path& path)
      : folder(path),
        manifest(read_json(folder / "manifest.json")),
        engine(Engine::load(folder / manifest.at("checkpoint").get<std::string>(),
                            {.vision_heads = manifest.at("vit").at("heads").get<int>(),
                             .precision = Precision::f32})),
        checkpoint(engine.checkpoint()),
        model(engine.model()),
        inputs(folder / "inputs.safetensors"),
        expected(folder / "expected.safetensors"),
        images(encode_for_tasks(engine, inputs, "pixel_values")) {
    Computed unused;
    pictures = encode_pictures(model, inputs, "pixel_values", unused);
  }

  void expect_image_embeds(const std::string& name) { expected.expect(name, flat(pictures)); }
  static std::vector<float> flat(std::span<const Tensor> tensors) {
    std::vector<float> all;
    for (const Tensor& t : tensors) all.insert(all.end(), t.data(), t.data() + t.size());
    return all;
  }

  std::filesystem::path folder;
  Json manifest;
  Engine engine;
  const Checkpoint& checkpoint;
  const BlipModel& model;
  Tensors inputs;
  Expected expected;
  std::vector<EncodedImage> images;
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

constexpr Tolerance kLoss{0, 2e-5};

void check_caption_losses(Case& c) {
  if (!c.inputs.contains("caption_ids")) return;
  const std::vector<std::vector<int>> texts =
      unpadded_rows(c.inputs, "caption_ids", "caption_mask");
  const int vocab = c.checkpoint.config.text.vocab_size;
  Computed unused;
  std::vector<std::vector<float>> logits;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    logits.push_back(
        decoder_logits(c.model.text_decoder(), c.pictures.at(i), texts[i], "", unused));
  }
  c.expected.expect_logits("", logits, vocab);
  if (!c.inputs.contains("caption_targets")) return;
  const float loss = mean_loss(text_losses(logits, c.inputs.ints("caption_targets"), vocab, 0.1));
  c.expected.expect("loss_lm", {&loss, 1}, kLoss);
}

void check_resized_model(Case& c, const Json& generate, const std::vector<int>& prompt) {
  if (!c.inputs.contains("pixel_values_resized_model")) return;
  Computed unused;
  const std::vector<Tensor> embeds =
      encode_pictures(c.model, c.inputs, "pixel_values_resized_model", unused);
  c.expected.expect("resized_model_image_embeds", Case::flat(embeds));
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
  c.expected.expect("resized_model_pos_embed", resized, {1e-5, 1e-5});

  if (!generate.contains("resized_model")) return;
  const Json& resized_case = generate.at("resized_model");
  const Tokenizer tokenizer = Tokenizer::bert_base_uncased();
  const std::size_t cut = generate.at("prompt").get<std::string>().size();
  for (std::size_t i = 0; i < embeds.size(); ++i) {
    const auto got =
        decode(c.model.text_decoder(), embeds[i],
               authors_request(prompt, resized_case.at("params"), authors_defaults(30, 10)));
    EXPECT_EQ(tokenizer.decode(got.at(0).ids, {true, true}).substr(cut),
              resized_case.at("captions").at(i).get<std::string>());
  }
}

/// Every returned sequence with its score.
void check_scored(const Case& c, const Json& cases, const std::vector<int>& prompt) {
  for (const Json& one : cases) {
    const auto image = one.at("image").get<std::size_t>();
    const auto got = decode(c.model.text_decoder(), c.pictures.at(image),
                            authors_request(prompt, one.at("params"), authors_defaults(30, 10)));
    const std::string what = one.at("params").dump() + " on picture " + std::to_string(image);
    const auto ids = one.at("ids").get<std::vector<std::vector<int>>>();
    const auto scores = one.at("sequences_scores").get<std::vector<double>>();
    ASSERT_EQ(got.size(), ids.size()) << what;
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (value_or(one, "robust", true)) {
        EXPECT_EQ(got[i].ids,
                  without_padding(ids[i], prompt.size(), c.checkpoint.config.text.sep_token_id))
            << what << ", sequence " << i;
      }
      EXPECT_NEAR(got[i].score, scores.at(i), 1e-4 * std::fabs(scores.at(i)))
          << what << ", sequence " << i;
    }
  }
}

void check_captioning(Case& c) {
  c.expect_image_embeds("image_embeds");
  check_caption_losses(c);
  const Json generate = read_json(c.folder / "generate.json");
  const auto prompt = generate.at("prompt_ids").get<std::vector<int>>();
  const std::size_t cut = generate.at("prompt").get<std::string>().size();
  const Tokenizer tokenizer = Tokenizer::bert_base_uncased();
  for (const Json& one : generate.at("cases")) {
    const GenerationRequest request =
        authors_request(prompt, one.at("params"), authors_defaults(30, 10));
    for (const Json& result : one.at("results")) {
      if (!value_or(result, "robust", true)) continue;
      const auto image = result.at("image").get<std::size_t>();
      const auto got = decode(c.model.text_decoder(), c.pictures.at(image), request);
      const std::string what = one.at("params").dump() + " on picture " + std::to_string(image);
      EXPECT_EQ(got.at(0).ids, result.at("ids").get<std::vector<int>>()) << what;
      // The original code cuts the prompt off by characters.
      const std::string text = tokenizer.decode(got.at(0).ids, {true, true});
      EXPECT_EQ(text.substr(std::min(cut, text.size())), result.at("caption").get<std::string>())
          << what;
    }
  }
  if (generate.contains("scored")) check_scored(c, generate.at("scored"), prompt);
  check_resized_model(c, generate, prompt);
  c.expected.expect_all_compared();
}

/// Losses of the training answers, of which each question has as many as "answer_counts" says.
void check_answer_losses(Case& c, std::span<const Tensor> states) {
  if (!c.inputs.contains("answer_ids")) return;
  const std::vector<std::vector<int>> answers =
      unpadded_rows(c.inputs, "answer_ids", "answer_mask");
  const std::vector<int> counts = c.inputs.ints("answer_counts");
  const std::vector<float> weights = c.inputs.floats("answer_weights");
  if (counts.size() != states.size()) throw Error(ErrorCode::bad_model, "answers without question");
  std::vector<float> losses;
  double total = 0;
  for (std::size_t question = 0; question < counts.size(); ++question) {
    for (int k = 0; k < counts[question]; ++k) {
      const std::vector<int>& answer = answers.at(losses.size());
      Computed unused;
      const std::vector<float> logits =
          decoder_logits(c.model.text_decoder(), states[question], answer, "", unused);
      const Loss loss = text_loss(logits, answer, c.checkpoint.config.text.vocab_size, 0.1);
      total += loss.sum * double{weights.at(losses.size())};
      losses.push_back(static_cast<float>(loss.sum));
    }
  }
  c.expected.expect("loss_per_answer", losses, kLoss);
  const auto loss = static_cast<float>(total / static_cast<double>(c.pictures.size()));
  c.expected.expect("loss", {&loss, 1}, kLoss);
}

/// The manifest's candidates ranked for each question, with every k that the file has.
void check_ranking(Case& c, const QuestionAnswerer& answerer, std::span<const Question> questions) {
  if (!c.manifest.contains("candidates")) return;
  const auto candidates = c.manifest.at("candidates").get<std::vector<std::string>>();
  const AnswerList list = answerer.encode_answers(candidates);
  for (int k = 1; k <= static_cast<int>(candidates.size()); ++k) {
    const std::string name = "rank_best_k" + std::to_string(k);
    if (!c.expected.contains(name)) continue;
    const auto ranked = answerer.rank(questions, list, {.top_k = k});
    for (std::size_t i = 0; i < questions.size(); ++i) {
      EXPECT_EQ(ranked[i].answers.at(0).index, c.expected.ints(name).at(i))
          << questions[i].text << ", k " << k;
    }
  }
}

/// Compares answers with ids that a padded batch of the reference returned.
void expect_answers(const Case& c, const std::vector<Answers>& answers, const Json& ids) {
  const TextConfig& text = c.checkpoint.config.text;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    std::vector<int> got = {text.bos_token_id};
    for (const CaptionToken& token : answers[i].answers.at(0).tokens) got.push_back(token.id);
    EXPECT_EQ(got, without_padding(ids.at(i).get<std::vector<int>>(), 1, text.sep_token_id))
        << "question " << i;
  }
}

void check_question_answering(Case& c) {
  c.expect_image_embeds("image_embeds");
  const std::vector<std::vector<int>> ids =
      unpadded_rows(c.inputs, "question_ids", "question_mask");
  std::vector<float> all_states;
  std::vector<Tensor> states;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    states.push_back(question_states(c.model, c.pictures.at(i), ids[i]));
    all_states.insert(all_states.end(), states[i].data(), states[i].data() + states[i].size());
  }
  c.expected.expect_ragged("question_states", all_states, ids);
  check_answer_losses(c, states);

  const QuestionAnswerer answerer(c.engine);
  const auto texts = c.manifest.at("questions").get<std::vector<std::string>>();
  std::vector<Question> questions;
  for (std::size_t i = 0; i < ids.size(); ++i) questions.push_back({c.images.at(i), texts.at(i)});
  check_ranking(c, answerer, questions);
  c.expected.leave_out("grad.");  // the engine has no gradients
  c.expected.expect_all_compared();

  const Json generate = read_json(c.folder / "generate.json");
  AnswerOptions options = answerer.default_options();
  options.generation = generation_config(generate.at("params"), options.generation);
  const std::vector<Answers> answers = answerer.answer(questions, options);
  const Json& single = generate.at("single");
  ASSERT_EQ(single.size(), questions.size());
  for (std::size_t i = 0; i < questions.size(); ++i) {
    if (!value_or(single.at(i), "robust", true)) continue;
    expect_answers(c, {answers[i]}, Json::array({single.at(i).at("ids")}));
    EXPECT_EQ(answers[i].answers.at(0).text, single.at(i).at("answer").get<std::string>());
  }
  if (!generate.contains("batch_ids")) return;
  options.question.reference_mask = true;
  expect_answers(c, answerer.answer(questions, options), generate.at("batch_ids"));
}

/// The authors' evaluation of retrieval: the ITM logit of "match" plus the similarity for the
/// `k_test` most similar, -100 for the others.
void check_retrieval_scores(Case& c, std::span<const std::string> texts) {
  const MatchScores scores = match_all(c.engine, c.images, texts, {});
  const std::size_t rows = c.images.size(), columns = texts.size();
  for (const bool by_image : {true, false}) {
    for (std::size_t k = 1; k <= std::max(rows, columns); ++k) {
      const std::string name =
          std::string("eval_score_") + (by_image ? "i2t" : "t2i") + "_k" + std::to_string(k);
      if (!c.expected.contains(name)) continue;
      const std::size_t queries = by_image ? rows : columns, targets = by_image ? columns : rows;
      std::vector<float> wanted(queries * targets, -100);
      for (std::size_t query = 0; query < queries; ++query) {
        const auto cell = [&](std::size_t target) {
          return by_image ? query * columns + target : target * columns + query;
        };
        std::vector<std::size_t> order(targets);
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
          return scores.itc_similarity[cell(a)] > scores.itc_similarity[cell(b)];
        });
        for (const std::size_t target : std::span(order).first(std::min(k, targets))) {
          wanted[query * targets + target] =
              scores.itm_logits[2 * cell(target) + 1] + scores.itc_similarity[cell(target)];
        }
      }
      c.expected.expect(name, wanted);
    }
  }
}

/// ITM logits and ITC similarities, [CLS] in front, as blip_itm gives them.
void check_retrieval(Case& c) {
  c.expect_image_embeds("image_embeds");
  const auto texts = c.manifest.at("captions").get<std::vector<std::string>>();
  const MatchScores cls = match_all(c.engine, c.images, texts, {.itm_token = FirstToken::cls});
  c.expected.expect("itm_logits", cls.itm_logits);
  c.expected.expect("itc_scores", cls.itc_similarity);
  check_retrieval_scores(c, texts);
  c.expected.leave_out("grad.");  // the engine has no gradients
  c.expected.leave_out("step");   // nor training steps
  c.expected.expect_all_compared();
}

/// Of two-way logits [texts, 2].
float mean_cross_entropy(std::span<const float> logits, std::span<const int> targets) {
  if (logits.size() != 2 * targets.size()) throw Error(ErrorCode::bad_model, "texts and targets");
  double sum = 0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const auto target = static_cast<std::size_t>(targets[i] != 0);
    sum +=
        std::log1p(std::exp(double{logits[2 * i + 1 - target]} - double{logits[2 * i + target]}));
  }
  return static_cast<float>(sum / static_cast<double>(targets.size()));
}

void check_nlvr(Case& c) {
  c.expect_image_embeds("image_embeds");
  const std::vector<std::vector<int>> texts =
      unpadded_rows(c.inputs, "input_ids", "attention_mask");
  const NlvrEncoder& encoder = c.model.nlvr_encoder();
  Computed computed;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const Tensor& first = c.pictures.at(i);
    const Tensor& second = c.pictures.at(texts.size() + i);
    const CrossKeysValues left =
        encoder.attend_to(0, first.span(), static_cast<std::size_t>(first.dim(0)), {});
    const CrossKeysValues right =
        encoder.attend_to(1, second.span(), static_cast<std::size_t>(second.dim(0)), {});
    const CrossKeysValues* const images[2] = {&left, &right};
    encoder.forward({&texts[i], 1}, images, {}, computed.probe("text."));
  }
  c.expected.expect_computed("text.", computed, texts);

  const VisualReasoner reasoner(c.engine);
  const auto statements = c.manifest.at("texts").get<std::vector<std::string>>();
  for (const bool swapped : {false, true}) {
    std::vector<float> logits;
    for (std::size_t i = 0; i < statements.size(); ++i) {
      const EncodedImage& first = c.images.at(i);
      const EncodedImage& second = c.images.at(statements.size() + i);
      const std::vector<Verdict> verdicts =
          reasoner.judge(swapped ? second : first, swapped ? first : second, {&statements[i], 1});
      logits.insert(logits.end(), verdicts.at(0).logits.begin(), verdicts.at(0).logits.end());
    }
    c.expected.expect(swapped ? "logits_swapped" : "logits", logits);
    if (!swapped && c.inputs.contains("targets")) {
      const float loss = mean_cross_entropy(logits, c.inputs.ints("targets"));
      c.expected.expect("loss", {&loss, 1}, kLoss);
    }
  }
  c.expected.leave_out("grad.");  // the engine has no gradients
  c.expected.expect_all_compared();
}

/// The feature extractor of the same file: picture, text alone, text looking at the first picture.
void check_pretrain(Case& c) {
  c.expect_image_embeds("features.image");
  const TextEncoder& encoder = c.model.text_encoder();
  std::vector<int> ids = c.inputs.ints("features_text_ids");  // one text
  const EncoderText alone{ids, nullptr};
  const Tensor text = encoder.forward({&alone, 1}, {});
  c.expected.expect("features.text", text.span());
  ids.at(0) = kEncToken;
  const CrossKeysValues image = encoder.attend_to(
      c.pictures.at(0).span(), static_cast<std::size_t>(c.pictures.at(0).dim(0)), {});
  const EncoderText looking{ids, &image};
  const Tensor multimodal = encoder.forward({&looking, 1}, {});
  c.expected.expect("features.multimodal", multimodal.span());

  const FeatureExtractor extractor(c.engine);
  const std::string words = c.engine.tokenizer().decode(ids);
  const FeatureOptions raw{.kind = FeatureKind::raw};
  const auto width = static_cast<std::size_t>(text.dim(1));
  expect_close(extractor.text_features({&words, 1}, raw).values, text.span().first(width),
               kHiddenStates, "text features");
  expect_close(extractor.multimodal_features(c.images.at(0), {&words, 1}, raw).values,
               multimodal.span().first(width), kHiddenStates, "multimodal features");
  c.expected.leave_out("grad.");  // the engine has no gradients
  c.expected.leave_out("step");   // nor training steps
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
