// Group D: generation with every setting, ids exact; logits processors; beam search step by step.
#include <algorithm>
#include <cmath>
#include <memory>

#include "blip/base/error.h"
#include "blip/checkpoint/checkpoint.h"
#include "blip/generation/logits_processor.h"
#include "blip/generation/logits_warper.h"
#include "blip/generation/softmax.h"
#include "blip/tasks/vqa.h"
#include "blip/tokenizer/tokenizer.h"
#include "tests/golden/decoding.h"
#include "tests/golden/forward.h"

namespace blip::golden {
namespace {

std::filesystem::path folder() {
  return root() / "D_generate";
}

bool has_vocabulary(const std::filesystem::path& checkpoint) {
  return std::filesystem::exists(checkpoint / "vocab.txt") ||
         std::filesystem::exists(checkpoint / "tokenizer.json");
}

/// The file of pictures that "inputs" names before its first space; `otherwise` without the key.
std::string inputs_of(const Json& json, const std::string& otherwise) {
  const auto inputs = value_or(json, "inputs", otherwise);
  return inputs.substr(0, inputs.find(' '));
}

/// A checkpoint with the pictures of a case file encoded.
struct Setup {
  Setup(const std::string& checkpoint_path, const std::string& inputs)
      : engine(load(resolve(checkpoint_path))),
        checkpoint(engine.checkpoint()),
        model(engine.model()),
        tokenizer(engine.tokenizer()) {
    const Tensors tensors(resolve("D_generate/" + inputs));
    Computed unused;
    pictures = encode_pictures(model, tensors, "pixel_values", unused);
    images = encode_for_tasks(engine, tensors, "pixel_values");
  }

  static Engine load(const std::filesystem::path& path) {
    return Engine::load(path, {.precision = Precision::f32,
                               .tokenizer = has_vocabulary(path) ? path : resolve("tokenizer_hf")});
  }

  Engine engine;
  const Checkpoint& checkpoint;
  const BlipModel& model;
  const Tokenizer& tokenizer;
  std::vector<Tensor> pictures;
  std::vector<EncodedImage> images;
};

/// One per checkpoint and inputs file, kept for all cases.
const Setup& setup(const std::string& checkpoint, const std::string& inputs) {
  static std::map<std::string, std::unique_ptr<const Setup>> all;
  std::unique_ptr<const Setup>& one = all[checkpoint + " " + inputs];
  if (!one) one = std::make_unique<const Setup>(checkpoint, inputs);
  return *one;
}

/// The setup of a case: what it or else its file says.
const Setup& setup(const Json& c, const Json& file, const std::string& inputs) {
  const Json& checkpoint = (c.contains("checkpoint") ? c : file).at("checkpoint");
  return setup(checkpoint.get<std::string>(), inputs_of(c, inputs_of(file, inputs)));
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
  const bool exact = value_or(result, "robust", true);
  const int sep = s.checkpoint.config.text.sep_token_id;
  ASSERT_EQ(got.size(), result.at("ids").size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto wanted = result.at("ids").at(i).get<std::vector<int>>();
    if (exact) {
      EXPECT_EQ(got[i].ids,
                without_padding(wanted, static_cast<std::size_t>(got[i].prompt_length), sep))
          << what << ", sequence " << i;
      if (result.contains("text")) {
        EXPECT_EQ(s.tokenizer.decode(got[i].ids), result.at("text").at(i).get<std::string>())
            << what;
      }
    }
    if (result.contains("sequences_scores")) {
      const double score = result.at("sequences_scores").at(i).get<double>();
      EXPECT_NEAR(got[i].score, score, 1e-4 * std::fabs(score) + 1e-6)
          << what << ", sequence " << i;
    }
    if (exact && result.contains("token_logprobs")) {
      const auto logprobs = result.at("token_logprobs").at(i).get<std::vector<float>>();
      ASSERT_LE(got[i].token_logprobs.size(), logprobs.size()) << what;
      expect_close(got[i].token_logprobs, std::span(logprobs).first(got[i].token_logprobs.size()),
                   {1e-3, 0}, what);
    }
  }
}

/// A case's prompt as ids with [CLS] and [SEP]; null for none.
Json prompt_ids_of(const Json& c, const Tokenizer& tokenizer) {
  const Json prompt = value_or(c, "prompt", Json()), ids = value_or(c, "prompt_ids", Json());
  if (prompt.is_null()) return ids;
  const std::vector<int> encoded = tokenizer.encode(prompt.get<std::string>());
  if (!ids.is_null()) {
    EXPECT_EQ(encoded, ids.get<std::vector<int>>());
  }
  return encoded;
}

void check_caption_case(const Json& c, const Json& file) {
  const Setup& s = setup(c, file, "caption_inputs.safetensors");
  const GenerationRequest request = request_for(s, prompt_ids_of(c, s.tokenizer), c.at("params"));
  for (const Json& result : c.at("results")) {
    const auto image = result.at("image").get<std::size_t>();
    expect_result(decode(s.model.text_decoder(), s.pictures.at(image), request), result, s,
                  "picture " + std::to_string(image));
  }
}

/// All questions on all pictures in one batch, by the task.
void check_vqa_case(const Json& c, const Json& file) {
  const Setup& s = setup(c, file, "vqa_inputs.safetensors");
  const QuestionAnswerer answerer(s.engine);
  std::vector<Question> questions;
  std::vector<Json> results;
  for (const Json& question : c.at("questions")) {
    const std::string text = question.at("question").get<std::string>();
    EXPECT_EQ(s.tokenizer.encode(text), question.at("question_ids").get<std::vector<int>>());
    for (const Json& result : question.at("results")) {
      questions.push_back({s.images.at(result.at("image").get<std::size_t>()), text});
      results.push_back(result);
    }
  }
  AnswerOptions options;
  options.generation = generation_config(c.at("params"));
  const std::vector<Answers> answers = answerer.answer(questions, options);
  for (std::size_t i = 0; i < questions.size(); ++i) {
    std::vector<Hypothesis> hypotheses;
    for (const Answer& answer : answers[i].answers) {
      Hypothesis& one = hypotheses.emplace_back();
      one.ids = {s.checkpoint.config.text.bos_token_id};
      one.prompt_length = 1;
      one.score = answer.score;
      double log_probability = 0;
      for (const CaptionToken& token : answer.tokens) {
        one.ids.push_back(token.id);
        one.token_logprobs.push_back(token.logprob);
        log_probability += double{token.logprob};
      }
      EXPECT_NEAR(std::log(answer.probability), log_probability, 1e-9);
    }
    expect_result(hypotheses, results[i], s,
                  in_quotes(questions[i].text) + ", result " + std::to_string(i));
  }
}

/// Follows a recorded beam search: after every step, the beams that go on must be the recorded
/// ones.
void check_beam_trace(const Json& c, const Json& file) {
  const Setup& s = setup(c, file, "caption_inputs.safetensors");
  const int sep = s.checkpoint.config.text.sep_token_id;
  const GenerationRequest request = request_for(s, prompt_ids_of(c, s.tokenizer), c.at("params"));
  const Json& steps = c.at("steps");
  std::size_t step = 0;
  const auto observe = [&](std::span<const StepRow> rows) {
    if (step > 0) {
      const Json& recorded = steps.at(step - 1);
      std::size_t row = 0;
      for (std::size_t i = 0; i < recorded.at("candidate_tokens").size() && row < rows.size();
           ++i) {
        const int token = recorded.at("candidate_tokens").at(i).get<int>();
        if (token == sep) continue;
        // Before the first step's result all beams are the same row.
        const int parent = step == 1 ? 0 : recorded.at("candidate_beams").at(i).get<int>();
        EXPECT_EQ(rows[row].tokens.back(), token) << "step " << step << ", beam " << row;
        EXPECT_EQ(rows[row].parent, parent) << "step " << step << ", beam " << row;
        ++row;
      }
    }
    ++step;
  };
  const std::vector<Hypothesis> got = decode(
      s.model.text_decoder(), s.pictures.at(c.at("image").get<std::size_t>()), request, observe);
  EXPECT_EQ(step, steps.size());
  ASSERT_EQ(got.size(), c.at("ids").size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto wanted = c.at("ids").at(i).get<std::vector<int>>();
    EXPECT_EQ(got[i].ids,
              without_padding(wanted, static_cast<std::size_t>(got[i].prompt_length), sep));
    EXPECT_NEAR(got[i].score, c.at("sequences_scores").at(i).get<double>(),
                1e-4 * std::fabs(got[i].score));
  }
}

/// Row by row: the processors of a mode, then the probabilities that sampling would draw from.
void check_processors(const Json& c, const Tensors& tensors) {
  std::string prefix = std::to_string(c.at("id").get<int>());
  prefix = "c" + std::string(3 - std::min<std::size_t>(3, prefix.size()), '0') + prefix + ".";
  const auto tensor = [&](const char* name) { return tensors.floats(prefix + name); };
  const std::string mode = c.at("mode").get<std::string>();
  const bool samples = mode == "sample" || mode == "beam_sample";
  const bool beams = mode == "beam" || mode == "beam_sample";
  GenerationConfig config = generation_config(c.at("params"));
  config.do_sample = samples;
  config.num_beams = c.at("num_beams").get<int>();

  std::vector<float> scores = tensor("logits");
  const std::vector<float> processed = tensor("processed");
  const std::vector<int> ids = tensors.ints(prefix + "input_ids");
  const auto vocab = c.at("vocab").get<std::size_t>();
  ASSERT_TRUE(vocab > 0 && scores.size() >= vocab && scores.size() % vocab == 0);
  const std::size_t rows = scores.size() / vocab, length = ids.size() / rows;
  for (std::size_t r = 0; r < rows; ++r) {
    const std::span<float> row = std::span(scores).subspan(r * vocab, vocab);
    if (beams) log_softmax(row);
    const SequenceState state{std::span(ids).subspan(r * length, length),
                              c.at("prompt_length").get<int>(), c.at("eos_token_id").get<int>()};
    process_logits(config, state, row);
    if (samples) LogitsWarper(config, c.at("min_tokens_to_keep").get<int>()).warp(row);
  }
  expect_close(scores, processed, {1e-6, 1e-5}, "processed");

  std::size_t together = 1;  // rows that share one distribution
  if (tensors.contains(prefix + "running_beam_scores")) {
    const std::vector<float> running = tensor("running_beam_scores");
    ASSERT_EQ(running.size(), rows);
    for (std::size_t i = 0; i < scores.size(); ++i) scores[i] += running[i / vocab];
    expect_close(scores, tensor("accumulated"), {1e-6, 1e-5}, "accumulated");
    together = rows;
  }
  if (!tensors.contains(prefix + "probs")) return;
  for (std::size_t r = 0; r < rows; r += together) {
    const std::span<float> distribution = std::span(scores).subspan(r * vocab, together * vocab);
    log_softmax(distribution);
    for (float& v : distribution) v = std::exp(v);
  }
  expect_close(scores, tensor("probs"), {1e-6, 0}, "probabilities");
}

/// Prompts of unequal length in one batch. The reference leaves [SEP] and padding inside shorter
/// prompts; here each must give what it gives alone.
void check_batch_prompts(const Json& c, const Json& file) {
  const Setup& s = setup(c, file, "caption_inputs.safetensors");
  const TextDecoder& decoder = s.model.text_decoder();
  const Tensor& picture = s.pictures.at(0);
  const CrossKeysValues keys_values =
      decoder.attend_to(picture.span(), static_cast<std::size_t>(picture.dim(0)), {});
  std::vector<GenerationRequest> requests;
  for (const Json& text : c.at("texts")) {
    requests.push_back(
        request_for(s, Json(s.tokenizer.encode(text.get<std::string>())), c.at("params")));
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

/// One test for each case of a file; `check(case, file's content)`.
void add_cases(const std::string& stem,
               const std::function<void(const Json& c, const Json& file)>& check) {
  const std::filesystem::path path = folder() / (stem + ".json");
  if (!std::filesystem::exists(path)) return;
  add_tests_or_failure("D_generate", stem, [&] {
    const auto file = std::make_shared<const Json>(read_json(path));
    const Json& cases = file->at("cases");
    for (std::size_t i = 0; i < cases.size(); ++i) {
      std::string name = std::to_string(i);
      if (cases.at(i).contains("name")) name = cases.at(i).at("name").dump();
      std::erase(name, '"');
      add_test("D_generate", stem + "." + name,
               [file, check, i] { check(file->at("cases").at(i), *file); });
    }
  });
}

}  // namespace

void register_generation() {
  add_cases("caption", check_caption_case);
  add_cases("vqa", check_vqa_case);
  add_cases("beam_trace", check_beam_trace);
  add_cases("batch_prompts", check_batch_prompts);
  add_cases("logits_processors", [](const Json& c, const Json&) {
    static const Tensors tensors(folder() / "logits_processors.safetensors");
    check_processors(c, tensors);
  });
}

}  // namespace blip::golden
