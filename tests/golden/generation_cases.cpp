// Group D: generation with every setting, ids exact; logits processors; beam search step by step.
#include <algorithm>
#include <cmath>
#include <memory>

#include "blip/base/error.h"
#include "blip/checkpoint/checkpoint.h"
#include "blip/generation/logits_processor.h"
#include "blip/generation/logits_warper.h"
#include "blip/generation/softmax.h"
#include "blip/tokenizer/tokenizer.h"
#include "tests/golden/decoding.h"
#include "tests/golden/forward.h"

namespace blip::golden {
namespace {

std::filesystem::path folder() {
  return root() / "D_generate";
}

/// A checkpoint with the pictures of a case file encoded.
struct Setup {
  Setup(const std::string& checkpoint_path, const std::string& inputs)
      : path(resolve(checkpoint_path)),
        checkpoint(open_checkpoint(path)),
        model(checkpoint.config, checkpoint.tensors),
        tokenizer(Tokenizer::from_folder(path)) {
    Computed unused;
    pictures =
        encode_pictures(model, Tensors(resolve("D_generate/" + inputs)), "pixel_values", unused);
  }

  std::filesystem::path path;
  Checkpoint checkpoint;
  BlipModel model;
  Tokenizer tokenizer;
  std::vector<Tensor> pictures;
};

/// One per checkpoint and inputs file, kept for all cases.
const Setup& setup(const std::string& checkpoint, const std::string& inputs) {
  static std::map<std::string, std::unique_ptr<const Setup>> all;
  std::unique_ptr<const Setup>& one = all[checkpoint + " " + inputs];
  if (!one) one = std::make_unique<const Setup>(checkpoint, inputs);
  return *one;
}

GenerationRequest request_for(const Setup& s, const Json& prompt_ids, const Json& params) {
  const TextConfig& text = s.checkpoint.config.text;
  GenerationRequest request;
  request.prompt_ids = decoder_prompt(text, prompt_ids);
  request.config = generation_config(params);
  request.eos_id = text.sep_token_id;
  return request;
}

/// Compares what a request returned with one entry of "results".
void expect_result(const std::vector<Hypothesis>& got, const Json& result, const Setup& s,
                   const std::string& what) {
  const bool exact = result["robust"].get<bool>();
  const int sep = s.checkpoint.config.text.sep_token_id;
  ASSERT_EQ(got.size(), result["ids"].size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto wanted = result["ids"][i].get<std::vector<int>>();
    if (exact) {
      EXPECT_EQ(got[i].ids,
                without_padding(wanted, static_cast<std::size_t>(got[i].prompt_length), sep))
          << what << ", sequence " << i;
      EXPECT_EQ(s.tokenizer.decode(got[i].ids), result["text"][i].get<std::string>()) << what;
    }
    if (result.contains("sequences_scores")) {
      const double score = result["sequences_scores"][i].get<double>();
      EXPECT_NEAR(got[i].score, score, 1e-4 * std::fabs(score) + 1e-6)
          << what << ", sequence " << i;
    }
    if (exact && result.contains("token_logprobs")) {
      const auto logprobs = result["token_logprobs"][i].get<std::vector<float>>();
      ASSERT_LE(got[i].token_logprobs.size(), logprobs.size()) << what;
      expect_close(got[i].token_logprobs, std::span(logprobs).first(got[i].token_logprobs.size()),
                   {1e-3, 0}, what);
    }
  }
}

void check_caption_case(const Json& c) {
  const Setup& s = setup(c["checkpoint"], "caption_inputs.safetensors");
  const GenerationRequest request = request_for(s, c["prompt_ids"], c["params"]);
  if (!c["prompt"].is_null()) {
    EXPECT_EQ(s.tokenizer.encode(c["prompt"].get<std::string>()),
              c["prompt_ids"].get<std::vector<int>>());
  }
  for (const Json& result : c["results"]) {
    const auto image = result["image"].get<std::size_t>();
    expect_result(decode(s.model.text_decoder(), s.pictures.at(image), request), result, s,
                  "picture " + std::to_string(image));
  }
}

void check_vqa_case(const Json& c) {
  const Setup& s = setup(c["checkpoint"], "vqa_inputs.safetensors");
  const GenerationRequest request = request_for(s, nullptr, c["params"]);
  for (const Json& question : c["questions"]) {
    const std::string text = question["question"].get<std::string>();
    const auto ids = question["question_ids"].get<std::vector<int>>();
    EXPECT_EQ(s.tokenizer.encode(text), ids);
    for (const Json& result : question["results"]) {
      const auto image = result["image"].get<std::size_t>();
      const Tensor states = question_states(s.model, s.pictures.at(image), ids);
      expect_result(decode(s.model.text_decoder(), states, request), result, s,
                    in_quotes(text) + " on picture " + std::to_string(image));
    }
  }
}

/// Follows a recorded beam search: after every step, the beams that go on must be the recorded
/// ones.
void check_beam_trace(const Json& c, const std::string& checkpoint) {
  const Setup& s = setup(checkpoint, "caption_inputs.safetensors");
  const int sep = s.checkpoint.config.text.sep_token_id;
  const Json prompt_ids =
      c["prompt"].is_null() ? Json() : Json(s.tokenizer.encode(c["prompt"].get<std::string>()));
  const GenerationRequest request = request_for(s, prompt_ids, c["params"]);
  const Json& steps = c["steps"];
  std::size_t step = 0;
  const auto observe = [&](std::span<const StepRow> rows) {
    if (step > 0) {
      ASSERT_LE(step, steps.size());
      const Json& recorded = steps[step - 1];
      std::size_t row = 0;
      for (std::size_t i = 0; i < recorded["candidate_tokens"].size() && row < rows.size(); ++i) {
        const int token = recorded["candidate_tokens"][i].get<int>();
        if (token == sep) continue;
        // Before the first step's result all beams are the same row.
        const int parent = step == 1 ? 0 : recorded["candidate_beams"][i].get<int>();
        EXPECT_EQ(rows[row].tokens.back(), token) << "step " << step << ", beam " << row;
        EXPECT_EQ(rows[row].parent, parent) << "step " << step << ", beam " << row;
        ++row;
      }
    }
    ++step;
  };
  const std::vector<Hypothesis> got = decode(
      s.model.text_decoder(), s.pictures.at(c["image"].get<std::size_t>()), request, observe);
  EXPECT_EQ(step, steps.size());
  ASSERT_EQ(got.size(), c["ids"].size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto wanted = c["ids"][i].get<std::vector<int>>();
    EXPECT_EQ(got[i].ids,
              without_padding(wanted, static_cast<std::size_t>(got[i].prompt_length), sep));
    EXPECT_NEAR(got[i].score, c["sequences_scores"][i].get<double>(),
                1e-4 * std::fabs(got[i].score));
  }
}

/// Row by row: the processors of a mode, then the probabilities that sampling would draw from.
void check_processors(const Json& c, const Tensors& tensors) {
  char prefix[16];
  std::snprintf(prefix, sizeof prefix, "c%03d.", c["id"].get<int>());
  const auto tensor = [&](const char* name) { return tensors.floats(prefix + std::string(name)); };
  const std::string mode = c["mode"].get<std::string>();
  const bool samples = mode == "sample" || mode == "beam_sample";
  const bool beams = mode == "beam" || mode == "beam_sample";
  GenerationConfig config = generation_config(c["params"]);
  config.do_sample = samples;
  config.num_beams = c["num_beams"].get<int>();

  std::vector<float> scores = tensor("logits");
  const std::vector<float> processed = tensor("processed");
  const std::vector<int> ids = tensors.ints(prefix + std::string("input_ids"));
  const auto vocab = c["vocab"].get<std::size_t>();
  const std::size_t rows = scores.size() / vocab, length = ids.size() / rows;
  for (std::size_t r = 0; r < rows; ++r) {
    const std::span<float> row = std::span(scores).subspan(r * vocab, vocab);
    if (beams) log_softmax(row);
    const SequenceState state{std::span(ids).subspan(r * length, length),
                              c["prompt_length"].get<int>(), c["eos_token_id"].get<int>()};
    process_logits(config, state, row);
    if (samples) LogitsWarper(config, c["min_tokens_to_keep"].get<int>()).warp(row);
  }
  expect_close(scores, processed, {1e-6, 1e-5}, "processed");

  std::size_t together = 1;  // rows that share one distribution
  if (tensors.contains(prefix + std::string("running_beam_scores"))) {
    const std::vector<float> running = tensor("running_beam_scores");
    for (std::size_t i = 0; i < scores.size(); ++i) scores[i] += running[i / vocab];
    expect_close(scores, tensor("accumulated"), {1e-6, 1e-5}, "accumulated");
    together = rows;
  }
  if (!tensors.contains(prefix + std::string("probs"))) return;
  for (std::size_t r = 0; r < rows; r += together) {
    const std::span<float> distribution = std::span(scores).subspan(r * vocab, together * vocab);
    log_softmax(distribution);
    for (float& v : distribution) v = std::exp(v);
  }
  expect_close(scores, tensor("probs"), {1e-6, 0}, "probabilities");
}

/// Prompts of unequal length in one batch. The reference leaves [SEP] and padding inside shorter
/// prompts; here each must give what it gives alone.
void check_batch_prompts(const Json& c, const std::string& checkpoint) {
  const Setup& s = setup(checkpoint, "caption_inputs.safetensors");
  const TextDecoder& decoder = s.model.text_decoder();
  const Tensor& picture = s.pictures.at(0);
  const CrossKeysValues keys_values =
      decoder.attend_to(picture.span(), static_cast<std::size_t>(picture.dim(0)), {});
  std::vector<GenerationRequest> requests;
  for (const Json& text : c["texts"]) {
    requests.push_back(
        request_for(s, Json(s.tokenizer.encode(text.get<std::string>())), c["params"]));
  }
  DecoderState state(decoder.config());
  const StepFunction step = [&](std::span<const StepRow> rows, std::span<float> logits) {
    std::vector<DecoderRow> decoder_rows;
    for (const StepRow& row : rows) decoder_rows.push_back({row.parent, row.tokens, &keys_values});
    decoder.step(state, decoder_rows, logits, {});
  };
  const auto together = generate(requests, decoder.config().vocab_size, step);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const std::vector<Hypothesis> alone = decode(decoder, picture, requests[i]);
    ASSERT_EQ(together[i].size(), alone.size());
    for (std::size_t k = 0; k < alone.size(); ++k) {
      EXPECT_EQ(together[i][k].ids, alone[k].ids);
      EXPECT_EQ(together[i][k].score, alone[k].score) << "not the same bits";
    }
  }
}

bool has(const char* file) {
  return std::filesystem::exists(folder() / file);
}

}  // namespace

void register_generation() {
  if (has("caption.json")) {
    const Json cases = read_json(folder() / "caption.json")["cases"];
    for (const Json& c : cases) {
      add_test("D_generate", "caption." + c["name"].get<std::string>(),
               [c] { check_caption_case(c); });
    }
  }
  if (has("vqa.json")) {
    const Json cases = read_json(folder() / "vqa.json")["cases"];
    for (const Json& c : cases) {
      add_test("D_generate", "vqa." + c["name"].get<std::string>(), [c] { check_vqa_case(c); });
    }
  }
  if (has("beam_trace.json")) {
    const Json file = read_json(folder() / "beam_trace.json");
    for (const Json& c : file["cases"]) {
      add_test("D_generate", "beam_trace." + c["name"].get<std::string>(),
               [c, checkpoint = file["checkpoint"].get<std::string>()] {
                 check_beam_trace(c, checkpoint);
               });
    }
  }
  if (has("logits_processors.json")) {
    const auto tensors =
        std::make_shared<const Tensors>(folder() / "logits_processors.safetensors");
    const Json cases = read_json(folder() / "logits_processors.json")["cases"];
    for (const Json& c : cases) {
      add_test("D_generate",
               "logits_processors." + c["id"].dump() + "." + c["mode"].get<std::string>(),
               [c, tensors] { check_processors(c, *tensors); });
    }
  }
  if (has("batch_prompts.json")) {
    const Json file = read_json(folder() / "batch_prompts.json");
    std::size_t i = 0;
    for (const Json& c : file["cases"]) {
      add_test("D_generate", "batch_prompts." + std::to_string(i++),
               [c, checkpoint = file["checkpoint"].get<std::string>()] {
                 check_batch_prompts(c, checkpoint);
               });
    }
  }
}

}  // namespace blip::golden
