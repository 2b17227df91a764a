// The recipes on models of the project: real tokenizers, real limits, real searches.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "blip/base/error.h"
#include "blip/image/decode.h"
#include "blip/model/blip.h"
#include "blip/tasks/default_model_test.h"
#include "blip/tasks/description.h"
#include "blip/tasks/description_json.h"
#include "blip/tasks/tiny_engines_test.h"

namespace blip {
namespace {

EncodedImage crabs() {
  const Image image = load_image(kModel / "samples/test_pair-00065.png");
  return captioner().engine().encode({&image, 1}).front();
}

/// The classic recipe with so few beams that it takes no time.
DescriptionOptions quick(std::uint64_t seed = 0) {
  DescriptionOptions options;
  options.seed = seed;
  options.classic.describe.generation.num_beams = 3;
  return options;
}

TEST(DescriberOnTheDefaultModel, DependsOnTheSeedAlone) {
  const Describer describer(captioner().engine());
  const EncodedImage image = crabs();
  const Json first = to_json(describer.describe({image, {}}, quick()));
  EXPECT_EQ(first, to_json(describer.describe({image, {}}, quick())));
  EXPECT_EQ(first,
            to_json(Describer(description_model(captioner())).describe({crabs(), {}}, quick())));
  bool differs = false;
  for (std::uint64_t seed = 1; seed < 5; ++seed)
    differs = differs ||
              first["prompts"] != to_json(describer.describe({image, {}}, quick(seed)))["prompts"];
  EXPECT_TRUE(differs) << "the seed has no effect";
}

TEST(DescriberOnTheDefaultModel, TellsHowFarItIsWhileItWrites) {
  std::vector<double> shares;
  DescriptionOptions options = quick();
  options.detail = DetailLevel::off;
  Describer(captioner().engine())
      .describe({crabs(), {}}, options, [&](const DescriptionProgress& progress) {
        if (progress.stage == DescriptionStage::prompts) shares.push_back(progress.share);
      });
  EXPECT_GT(shares.size(), 2u);
  EXPECT_TRUE(std::ranges::is_sorted(shares));
  EXPECT_EQ(shares.front(), 0);
  EXPECT_EQ(shares.back(), 1);
}

TEST(DescriberOnTheDefaultModel, KeepsToTheRecipeWithinItsPositions) {
  const Description description = Describer(captioner().engine()).describe({crabs(), {}}, quick());
  EXPECT_TRUE(description.length_limited) << "64 positions, and 150 tokens asked for";
  EXPECT_FALSE(description.text.empty());
  EXPECT_EQ(description.text.front(), description.text.front() & ~0x20) << description.text;
  ASSERT_GE(description.prompts.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    const DescriptionPrompt& prompt = description.prompts[i];
    EXPECT_EQ(prompt.stage, DescriptionStage::prompts);
    EXPECT_FALSE(prompt.skipped);
    ASSERT_EQ(prompt.texts.size(), 1u);
    EXPECT_EQ(prompt.texts[0].find("photography of"), std::string::npos) << prompt.texts[0];
  }
  for (const DescriptionPrompt& prompt : description.prompts) {
    const std::size_t tokens = captioner().prompt_tokens(prompt.prompt);
    EXPECT_TRUE(prompt.skipped || tokens < captioner().most_tokens()) << prompt.prompt;
    EXPECT_EQ(prompt.texts.empty(), prompt.skipped);
  }
}

TEST(DescriberOnTheDefaultModel, LaterRoundsRunWithShorterPrompts) {
  DescriptionOptions options = quick();
  options.classic.refine.prompts = {"{current} and"};
  options.classic.refine.generation.num_beams = 3;
  options.classic.refine_over_words = 0;
  options.classic.extend_under_words = 0;
  const Description description = Describer(captioner().engine()).describe({crabs(), {}}, options);
  EXPECT_EQ(description.rounds, 3);
  EXPECT_EQ(description.prompts.size(), 6u);
  EXPECT_FALSE(description.prompts[4].skipped);
}

TEST(DescriberOnTheDefaultModel, FaithfulSentencesCarryTheirConfidence) {
  DescriptionOptions options;
  options.recipe = DescriptionRecipe::faithful;
  const Describer describer(captioner().engine());
  const Description description = describer.describe({crabs(), {}}, options);
  EXPECT_EQ(description.confidence, ConfidenceKind::itm);
  ASSERT_FALSE(description.sentences.empty());
  EXPECT_NE(description.text.find("crabs"), std::string::npos) << description.text;
  double before = 1;
  for (const DescriptionSentence& sentence : description.sentences) {
    EXPECT_GT(sentence.confidence, 0);
    EXPECT_LE(sentence.confidence, before);
    EXPECT_EQ(sentence.text.back(), '.');
    before = sentence.confidence;
  }
  EXPECT_EQ(to_json(description), to_json(describer.describe({crabs(), {}}, options)));
}

TEST(DescriberOfCaptionersAlone, FaithfulSentencesCarryTheirLikelihood) {
  const Engine engine = tiny_engine("C_hf/caption");
  DescriptionOptions options;
  options.recipe = DescriptionRecipe::faithful;
  options.faithful.least_share = 0;
  const Description description = Describer(engine).describe({encoded(engine, 5), {}}, options);
  EXPECT_EQ(description.confidence, ConfidenceKind::likelihood);
  ASSERT_FALSE(description.sentences.empty());
  double before = 1;
  for (const DescriptionSentence& sentence : description.sentences) {
    EXPECT_GT(sentence.confidence, 0);
    EXPECT_LE(sentence.confidence, before);
    before = sentence.confidence;
  }
}

TEST(JudgeBy, TakesTheHeadThatThereIs) {
  const std::vector<std::string> texts = {"a cat", "a dog on the beach"};
  const auto judged = [&](const Engine& engine, ConfidenceKind kind) {
    const Judge judge = judge_by(engine, encoded(engine, 5));
    EXPECT_EQ(judge.kind, kind);
    const std::vector<double> confidences = judge.confidences(texts, {});
    ASSERT_EQ(confidences.size(), 2u);
    for (const double confidence : confidences) EXPECT_TRUE(confidence >= 0 && confidence <= 1);
    EXPECT_NE(confidences[0], confidences[1]);
  };
  judged(tiny_engine("C_hf/retrieval"), ConfidenceKind::itm);
  EXPECT_EQ(judge_by(tiny_engine("C_hf/clipstyle"), {}).kind, ConfidenceKind::itc);
  EXPECT_FALSE(judge_by(tiny_engine("C_hf/caption"), {}).confidences);
}

TEST(DescriberWithHeads, JudgesItselfOrIsJudgedByAnother) {
  const Engine pretrained = tiny_engine("E_original/pretrain/model_pretrain.pth", 4);
  ASSERT_TRUE(pretrained.model().has_itm_head());
  DescriptionOptions options;
  options.recipe = DescriptionRecipe::faithful;
  const Describer describer(pretrained);
  const Description own = describer.describe({encoded(pretrained, 5), {}}, options);
  ASSERT_FALSE(own.sentences.empty());
  EXPECT_EQ(own.confidence, ConfidenceKind::itm);
  const Engine retrieval = tiny_engine("C_hf/clipstyle");
  const Description judged = describer.describe(
      {encoded(pretrained, 5), judge_by(retrieval, encoded(retrieval, 5))}, options);
  ASSERT_FALSE(judged.sentences.empty());
  EXPECT_EQ(judged.confidence, ConfidenceKind::itc);
}

TEST(Describer, RefusesACheckpointThatCannotCaption) {
  EXPECT_THROW(Describer(tiny_engine("C_hf/retrieval")), Error);
}

TEST(Captioner, TakesOptionsForEachRequest) {
  const EncodedImage image = crabs();
  const std::vector<CaptionRequest> requests = {{image, ""}, {image, "a red"}};
  std::vector<CaptionOptions> options(2);
  options[0].generation.max_new_tokens = 3;
  options[1].generation.num_beams = 4;
  const auto together = captioner().caption(requests, options);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto alone = captioner().caption(std::span(requests).subspan(i, 1), options[i]);
    EXPECT_EQ(together[i][0].ids, alone[0][0].ids);
  }
  options.pop_back();
  EXPECT_THROW(captioner().caption(requests, options), Error);
}

}  // namespace
}  // namespace blip
