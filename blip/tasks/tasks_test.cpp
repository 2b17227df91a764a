#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/json.h"
#include "blip/image/decode.h"
#include "blip/tasks/captioning.h"
#include "blip/tasks/default_model_test.h"

namespace blip {
namespace {

Image sample(const std::string& name) {
  return load_image(kModel / "samples" / name);
}

std::vector<CaptionRequest> requests_for(std::span<const std::string> prompts) {
  const Json expected = read_json(kModel / "samples" / "expected.json");
  std::vector<CaptionRequest> requests;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const Image image = sample(expected[i]["file_name"].get<std::string>());
    requests.push_back({captioner().engine().encode({&image, 1}).front(), prompts[i]});
  }
  return requests;
}

TEST(Captioner, DescribesTheSamplePicturesAsTheReferenceDoes) {
  for (const Json& wanted : read_json(kModel / "samples" / "expected.json")) {
    const Image image = sample(wanted["file_name"].get<std::string>());
    const CaptionRequest request{captioner().engine().encode({&image, 1}).front(), ""};
    const Caption greedy = captioner().caption({&request, 1}, with(1))[0][0];
    EXPECT_EQ(greedy.ids, wanted["greedy_ids"].get<std::vector<int>>());
    EXPECT_EQ(greedy.text, wanted["greedy"].get<std::string>());
    const Caption beam = captioner().caption({&request, 1}, with(3))[0][0];
    EXPECT_EQ(beam.ids, wanted["beam3_ids"].get<std::vector<int>>());
    EXPECT_EQ(beam.text, wanted["beam3"].get<std::string>());
    EXPECT_NEAR(beam.score, wanted["beam3_score"].get<double>(), 1e-4);
  }
}

TEST(Captioner, BatchesGiveTheSameAsOneAtATime) {
  const std::vector<std::string> prompts = {"", "a", "two blue crabs and", "a red"};
  const std::vector<CaptionRequest> requests = requests_for(prompts);
  for (const int beams : {1, 4}) {
    const auto together = captioner().caption(requests, with(beams));
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const Caption alone = captioner().caption({&requests[i], 1}, with(beams))[0][0];
      EXPECT_EQ(together[i][0].ids, alone.ids);
      EXPECT_EQ(together[i][0].score, alone.score);
    }
  }
}

TEST(CaptionBatch, WhatJoinsLaterIsTheSame) {
  const std::vector<std::string> prompts = {"", "a", "two blue crabs and"};
  const std::vector<CaptionRequest> requests = requests_for(prompts);
  CaptionBatch batch(captioner());
  CaptionOptions stripped = with(1);
  stripped.strip_prompt = true;
  batch.add(requests[0], with(3));
  batch.add(requests[1], with(1));
  batch.step();
  batch.step();
  EXPECT_EQ(batch.add(requests[2], stripped), 2u);
  batch.step();
  EXPECT_TRUE(captioner().caption({&requests[2], 1}, stripped)[0][0].text.starts_with(
      batch.text_so_far(2)));
  batch.remove(1);
  while (!batch.idle()) batch.step();
  EXPECT_EQ(batch.take(0)[0].ids, captioner().caption({&requests[0], 1}, with(3))[0][0].ids);
  EXPECT_EQ(batch.take(2)[0].text, captioner().caption({&requests[2], 1}, stripped)[0][0].text);
}

TEST(Captioner, TokensCarryTheirLogProbabilities) {
  const std::string prompt = "a";
  const std::vector<CaptionRequest> requests = requests_for({&prompt, 1});
  const Caption caption = captioner().caption(requests, with(1))[0][0];
  EXPECT_EQ(caption.tokens.size() + 2, caption.ids.size())
      << "[DEC] and the prompt are not generated";
  double sum = 0;
  for (const CaptionToken& token : caption.tokens) {
    EXPECT_LE(token.logprob, 0.0f);
    sum += double{token.logprob};
  }
  EXPECT_NEAR(caption.score, sum, 1e-5);
  EXPECT_TRUE(caption.finished);
}

TEST(Captioner, PromptStaysOrGoesAsAsked) {
  const std::string prompt = "a butterfly";
  const std::vector<CaptionRequest> requests = requests_for({&prompt, 1});
  CaptionOptions options = with(1);
  const std::string kept = captioner().caption(requests, options)[0][0].text;
  EXPECT_TRUE(kept.starts_with(prompt)) << kept;
  options.strip_prompt = true;
  const std::string stripped = captioner().caption(requests, options)[0][0].text;
  EXPECT_FALSE(stripped.empty());
  EXPECT_TRUE(kept.ends_with(stripped)) << kept;
  EXPECT_FALSE(stripped.starts_with(prompt)) << stripped;
}

TEST(Captioner, SamplingDependsOnTheSeedAlone) {
  const std::vector<std::string> prompts = {"", ""};
  const std::vector<CaptionRequest> requests = requests_for(prompts);
  CaptionOptions options = with(1);
  options.generation.do_sample = true;
  options.generation.temperature = 2.0;
  options.generation.num_return_sequences = 3;
  options.generation.seed = 7;
  const auto first = captioner().caption(requests, options);
  const auto alone = captioner().caption({&requests[1], 1}, options);
  options.generation.seed = 8;
  const auto other = captioner().caption(requests, options);
  ASSERT_EQ(first[1].size(), 3u);
  bool differs = false;
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(first[1][i].ids, alone[0][i].ids) << "neighbours changed a draw";
    differs = differs || first[1][i].ids != other[1][i].ids;
  }
  EXPECT_TRUE(differs) << "the seed has no effect";
}

TEST(Captioner, StopsOnRequest) {
  const std::string none;
  const std::vector<CaptionRequest> requests = requests_for({&none, 1});
  const std::atomic<bool> stop = true;
  EXPECT_THROW(captioner().caption(requests, with(1), {.stop = &stop}), Error);
}

TEST(Captioner, RefusesATextLongerThanTheModel) {
  std::string prompt;
  for (int i = 0; i < 80; ++i) prompt += "a ";
  const std::vector<CaptionRequest> requests = requests_for({&prompt, 1});
  EXPECT_THROW(captioner().caption(requests, with(1)), Error);
}

TEST(Engine, OtherImageSizesInterpolateAndOddOnesAreRefused) {
  const Engine engine = Engine::load(kModel, {.image_size = 96});
  const Image image = sample("test_pair-00065.png");
  EXPECT_EQ(engine.encode({&image, 1}).front().num_tokens(), 145);
  EXPECT_THROW(Engine::load(kModel, {.image_size = 100}), Error);
}

TEST(Engine, NamesAFolderThatIsNotThere) {
  try {
    Engine::load("no/such/model");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::not_found);
    EXPECT_NE(std::string(e.what()).find("no/such/model"), std::string::npos);
  }
}

}  // namespace
}  // namespace blip
