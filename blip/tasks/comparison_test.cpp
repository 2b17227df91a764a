#include "blip/tasks/comparison.h"

#include <gtest/gtest.h>

#include "blip/image/decode.h"
#include "blip/tasks/default_model_test.h"
#include "blip/tasks/tiny_engines_test.h"

namespace blip {
namespace {

/// Between f32 and bf16, of a picture that comes with the program.
PictureComparison picture_compared(const std::string& prompt, const CaptionOptions& options) {
  static const Engine candidate = Engine::load(kModel, {.precision = Precision::bf16});
  return EngineComparison(captioner().engine(), candidate, prompt, options)
      .compare(load_image(kModel / "samples/test_pair-00065.png"));
}

TextComparison compared(const std::string& prompt, const CaptionOptions& options) {
  return picture_compared(prompt, options).texts.at(0);
}

TEST(EngineComparison, OnlyTokensThatAreWrittenCount) {
  CaptionOptions one = with(1);
  one.generation.max_new_tokens = 1;
  const TextComparison plain = compared("", one), prompted = compared("two blue crabs", one);
  EXPECT_GT(plain.divergence, 0);
  EXPECT_GT(prompted.divergence, 0);
  EXPECT_EQ(plain.divergence, plain.largest_divergence);
  EXPECT_EQ(prompted.divergence, prompted.largest_divergence);
}

TEST(EngineComparison, ACaptionMayFillThePositions) {
  CaptionOptions longest = with(1);
  longest.generation.max_new_tokens = static_cast<int>(captioner().most_tokens()) - 1;  // [DEC]
  longest.generation.min_new_tokens = longest.generation.max_new_tokens;
  EXPECT_GT(compared("", longest).divergence, 0);
}

ComparisonSummary summary_of(const std::string& checkpoint, Precision precision,
                             std::span<const std::string> said = {}) {
  const bool authors = checkpoint.ends_with(".pth");
  const EngineComparison comparison(tiny_engine(checkpoint, authors ? 4 : 0),
                                    tiny_engine(checkpoint, authors ? 4 : 0, precision), "", {});
  return summarise({comparison.compare(stripes(3), said), comparison.compare(stripes(5))});
}

TEST(EngineComparison, MeasuresWhatTheCheckpointDoes) {
  const auto measured = [](const std::string& checkpoint) {
    return summary_of(checkpoint, Precision::f32).measured();
  };
  EXPECT_EQ(measured("C_hf/caption"), "vision, captions");
  EXPECT_EQ(measured("C_hf/vqa"), "vision, answers");
  EXPECT_EQ(measured("C_hf/retrieval"), "vision, matching");
  EXPECT_EQ(measured("C_hf/clipstyle"), "vision, matching");
  EXPECT_EQ(measured("E_original/pretrain/model_pretrain.pth"), "vision, captions, matching");
  EXPECT_EQ(measured("E_original/nlvr/model_nlvr.pth"), "vision only");
}

TEST(EngineComparison, AnswersAndMatchesDifferWhereTheArithmeticDoes) {
  for (const Precision precision : {Precision::f32, Precision::int8}) {
    const ComparisonSummary vqa = summary_of("C_hf/vqa", precision);
    const ComparisonSummary retrieval = summary_of("C_hf/retrieval", precision);
    const ComparisonSummary dual = summary_of("C_hf/clipstyle", precision);
    const bool differ = precision != Precision::f32;
    EXPECT_EQ(vqa.divergence->mean > 0, differ);
    EXPECT_GE(vqa.divergence->largest, vqa.divergence->mean);
    EXPECT_EQ(retrieval.itm->mean > 0, differ);
    EXPECT_EQ(retrieval.itc->mean > 0, differ);
    EXPECT_EQ(dual.itc->mean > 0, differ);
    EXPECT_FALSE(dual.itm);
  }
}

// Of sentences that are not true of the picture the probability itself moves by less than 1e-5.
TEST(EngineComparison, ProbabilitiesNearZeroDoNotHideAChange) {
  EXPECT_GT(summarise({picture_compared("", with(1))}).itm->mean, 1e-4);
}

TEST(EngineComparison, MatchesWhatIsSaidOfAPicture) {
  const EngineComparison comparison(tiny_engine("C_hf/retrieval"), tiny_engine("C_hf/retrieval"),
                                    "", {});
  const std::vector<std::string> said = {"a cat", "a dog"};
  EXPECT_EQ(comparison.compare(stripes(3), said).matches.size(),
            comparison.compare(stripes(3)).matches.size() + 2);
}

TEST(ComparisonSummary, EveryPartThatWasMeasuredDecides) {
  PictureComparison good;
  good.texts = {{"", "a", "b", 0.004, 0.2}};
  good.matches = {{0.009, 0.009}, {0.009, std::nullopt}};
  EXPECT_TRUE(summarise({good}).passes());
  EXPECT_EQ(summarise({good}).identical, 0);
  EXPECT_FALSE(summarise({}).passes());
  PictureComparison bad[] = {good, good, good, good};
  bad[0].cosine = 0.99;
  bad[1].texts[0].divergence = 0.02;
  bad[2].matches[1].itm = 0.04;
  bad[3].matches[0].itc = 0.04;
  for (const PictureComparison& one : bad) EXPECT_FALSE(summarise({good, one}).passes());
}

}  // namespace
}  // namespace blip
