#include "blip/tasks/matching.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "blip/base/error.h"
#include "blip/tasks/features.h"
#include "blip/tasks/nlvr.h"
#include "blip/tasks/tiny_engines_test.h"

namespace blip {
namespace {

const Engine& retrieval() {
  static const Engine engine = tiny_engine("C_hf/retrieval");
  return engine;
}

const std::vector<std::string> kTexts = {"a woman and a cup of coffee", "a cat", "Isn't it?"};

double length(std::span<const float> x) {
  double sum = 0;
  for (const float v : x) sum += double{v} * double{v};
  return std::sqrt(sum);
}

TEST(Matcher, BatchesGiveTheSameAsOneAtATime) {
  const Matcher matcher(retrieval());
  std::vector<std::string> many;
  for (int i = 0; i < 300; ++i) many.push_back(kTexts[static_cast<std::size_t>(i) % 3]);
  const EncodedImage image = encoded(retrieval(), 4);
  const std::vector<Match> together = matcher.match(image, matcher.encode(many));
  for (std::size_t i : {0u, 1u, 2u, 298u, 299u}) {
    const Match alone = matcher.match(image, matcher.encode({&many[i], 1}))[0];
    EXPECT_NEAR(together[i].itm_logits[0], alone.itm_logits[0], 1e-5) << i;
    EXPECT_NEAR(together[i].itm_logits[1], alone.itm_logits[1], 1e-5) << i;
    EXPECT_NEAR(together[i].itc_similarity, alone.itc_similarity, 1e-6) << i;
    EXPECT_NEAR(together[i].itm_probability,
                1 / (1 + std::exp(alone.itm_logits[0] - alone.itm_logits[1])), 1e-6);
    EXPECT_LE(std::fabs(together[i].itc_similarity), 1.000001);
  }
}

TEST(Matcher, ThreadsShareAnEncodedPicture) {
  const Matcher matcher(retrieval());
  const EncodedImage image = encoded(retrieval(), 4);
  const std::vector<MatchText> texts = matcher.encode(kTexts);
  std::vector<std::vector<Match>> found(4);
  std::vector<std::thread> threads;
  for (std::vector<Match>& of_thread : found)
    threads.emplace_back([&] { of_thread = matcher.match(image, texts, {.num_threads = 1}); });
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<Match>& of_thread : found)
    EXPECT_EQ(of_thread[0].itm_logits, found[0][0].itm_logits);
}

TEST(EncodedImage, OutlivesItsEngine) {
  EncodedImage image;
  {
    const Engine engine = tiny_engine("C_hf/retrieval");
    image = encoded(engine, 4);
  }
  EXPECT_EQ(image.image_embeds().size() % static_cast<std::size_t>(image.num_tokens()), 0u);
  const Matcher matcher(tiny_engine("C_hf/retrieval"));
  EXPECT_THROW(matcher.match(image, matcher.encode(kTexts)), Error) << "of another engine";
}

TEST(Matcher, ComputesWhatIsAskedFor) {
  const Matcher matcher(retrieval());
  const EncodedImage image = encoded(retrieval(), 4);
  const Match both = matcher.match(image, matcher.encode(kTexts))[0];
  const Match itc = matcher.match(image, matcher.encode(kTexts, {.itm = false}))[0];
  EXPECT_EQ(itc.itc_similarity, both.itc_similarity);
  EXPECT_EQ(itc.itm_probability, 0);
  const Match itm = matcher.match(image, matcher.encode(kTexts, {.itc = false}))[0];
  EXPECT_EQ(itm.itm_logits, both.itm_logits);
  EXPECT_EQ(itm.itc_similarity, 0);
  const Match cls = matcher.match(image, matcher.encode(kTexts, {.itm_token = FirstToken::cls}))[0];
  EXPECT_NE(cls.itm_logits, both.itm_logits);
  EXPECT_EQ(cls.itc_similarity, both.itc_similarity) << "[ENC] is for ITM alone";
}

TEST(Matcher, CheckpointsWithoutAHeadSaySo) {
  const Matcher dual(tiny_engine("C_hf/clipstyle"));
  EXPECT_THROW(dual.encode(kTexts), Error);
  const std::vector<MatchText> texts = dual.encode(kTexts, {.itm = false});
  EXPECT_NE(dual.match(encoded(dual.engine(), 4), texts)[0].itc_similarity, 0);
  try {
    Matcher(tiny_engine("C_hf/vqa")).encode(kTexts);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(e.what()).find("question_answering"), std::string::npos) << e.what();
  }
}

TEST(Matcher, LongTextsAreCutAndMarked) {
  const Matcher matcher(retrieval());
  std::string words = "a cat";
  for (int i = 0; i < 100; ++i) words += " cat";
  const MatchText cut = matcher.encode({&words, 1}, {.max_length = 4})[0];
  EXPECT_TRUE(cut.truncated);
  EXPECT_EQ(cut.itm_ids.size(), 4u);
  const std::string same = "a cat";
  EXPECT_EQ(cut.text_feat, matcher.encode({&same, 1})[0].text_feat);
  const std::string none = " ";
  EXPECT_THROW(matcher.encode({&none, 1}), Error);
}

TEST(Features, KindsAgreeWithEachOther) {
  const FeatureExtractor extractor(retrieval());
  const EncodedImage image = encoded(retrieval(), 4);
  const Features unit = extractor.image_features({&image, 1}, FeatureKind::normalised);
  const Features projected = extractor.image_features({&image, 1}, FeatureKind::projected);
  EXPECT_NEAR(length(unit.values), 1, 1e-6);
  const double size = length(projected.values);
  for (std::size_t i = 0; i < unit.width; ++i)
    EXPECT_NEAR(double{unit.values[i]} * size, double{projected.values[i]}, 1e-5);
  const Features raw = extractor.image_features({&image, 1}, FeatureKind::raw);
  EXPECT_EQ(raw.values, std::vector<float>(
                            image.image_embeds().begin(),
                            image.image_embeds().begin() + static_cast<std::ptrdiff_t>(raw.width)));
  const Features texts = extractor.text_features(kTexts, {});
  EXPECT_EQ(texts.values.size(), 3 * texts.width);
  EXPECT_EQ(texts.width, unit.width) << "one space for both";
}

TEST(Features, PairsAreRawUnlessTheCheckpointProjectsThem) {
  const EncodedImage image = encoded(retrieval(), 4);
  const FeatureExtractor extractor(retrieval());
  EXPECT_THROW(extractor.multimodal_features(image, kTexts, {}), Error);
  const Features pairs = extractor.multimodal_features(image, kTexts, {.kind = FeatureKind::raw});
  EXPECT_EQ(pairs.truncated.size(), 3u);
  const EncodedImage other = encoded(retrieval(), 7);
  EXPECT_NE(extractor.multimodal_features(other, kTexts, {.kind = FeatureKind::raw}).values,
            pairs.values);
  const FeatureExtractor dual(tiny_engine("C_hf/clipstyle"));
  EXPECT_TRUE(dual.projects_pairs());
  const EncodedImage of_dual = encoded(dual.engine(), 4);
  EXPECT_NEAR(length(dual.multimodal_features(of_dual, {&kTexts[0], 1}, {}).values), 1, 1e-6);
  const FeatureExtractor vqa(tiny_engine("C_hf/vqa"));
  EXPECT_FALSE(vqa.projects());
  EXPECT_THROW(vqa.text_features(kTexts, {}), Error);
  EXPECT_EQ(vqa.text_features(kTexts, {.kind = FeatureKind::raw}).truncated.size(), 3u);
}

TEST(VisualReasoner, BothOrdersDoNotDependOnTheOrder) {
  const VisualReasoner reasoner(tiny_engine("E_original/nlvr/model_nlvr.pth", 4));
  const EncodedImage one = encoded(reasoner.engine(), 3), two = encoded(reasoner.engine(), 6);
  const std::vector<std::string> there = {"the left one is red", "one cat"};
  const std::vector<std::string> back = {"the right one is red", "one cat"};
  const std::vector<Verdict> first = reasoner.judge(one, two, there, {.both_orders = true});
  const std::vector<Verdict> second = reasoner.judge(two, one, back, {.both_orders = true});
  const std::vector<Verdict> plain = reasoner.judge(one, two, there);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(first[i].probability, second[i].probability, 1e-9);
    EXPECT_EQ(first[i].logits, plain[i].logits) << "the logits are of the order given";
    EXPECT_NE(first[i].probability, plain[i].probability);
  }
  const std::vector<Verdict> alone = reasoner.judge(one, two, {&there[1], 1});
  EXPECT_EQ(alone[0].logits, plain[1].logits) << "neighbours change nothing";
}

TEST(VisualReasoner, TakesOnlyWhatItIsMadeFor) {
  EXPECT_THROW(VisualReasoner{retrieval()}, Error);
  const VisualReasoner reasoner(tiny_engine("E_original/nlvr/model_nlvr.pth", 4));
  const EncodedImage one = encoded(reasoner.engine(), 3);
  const std::string none;
  EXPECT_THROW(reasoner.judge(one, one, {&none, 1}), Error);
  const std::string text = "a cat";
  EXPECT_THROW(reasoner.judge(one, encoded(retrieval(), 3), {&text, 1}), Error);
}

}  // namespace
}  // namespace blip
