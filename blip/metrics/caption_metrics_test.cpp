#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/json.h"
#include "blip/metrics/bleu.h"
#include "blip/metrics/cider.h"
#include "blip/metrics/ptb_tokenizer.h"
#include "blip/metrics/rouge_l.h"

namespace blip {
namespace {

Json fixture(const std::string& name) {
  return read_json(std::string(BLIP_TEST_DATA) + "/metrics/" + name);
}

/// The fixture's pictures in the order of their expected values.
std::vector<CaptionSample> samples_of(const Json& image_ids) {
  std::map<std::int64_t, std::vector<std::string>> references;
  std::map<std::int64_t, std::string> candidates;
  const Json annotations = fixture("captions.json");
  const Json results = fixture("captions_results.json");
  for (const Json& row : annotations["annotations"]) {
    references[row["image_id"]].push_back(row["caption"]);
  }
  for (const Json& row : results) {
    candidates[row["image_id"]] = row["caption"];
  }
  const PtbTokenizer tokenizer;
  std::vector<CaptionSample> samples;
  for (const Json& id : image_ids) {
    samples.push_back({tokenizer.tokenize(std::vector{candidates.at(id)}).front(),
                       tokenizer.tokenize(references.at(id))});
  }
  return samples;
}

void expect_scores(const CorpusScore& scores, const Json& expected, const std::string& name) {
  EXPECT_NEAR(scores.score, expected["corpus"][name].get<double>(), 1e-9) << name;
  const Json& each = expected["each"][name];
  ASSERT_EQ(scores.each.size(), each.size());
  for (std::size_t i = 0; i < each.size(); ++i) {
    EXPECT_NEAR(scores.each[i], each[i].get<double>(), 1e-6) << name << " of " << i;
  }
}

TEST(CaptionMetrics, EqualPycocoevalcap) {
  const Json expected = fixture("captions_expected.json");
  const std::vector<CaptionSample> samples = samples_of(expected["image_ids"]);
  ASSERT_GT(samples.size(), 300U);
  const auto bleus = bleu(samples);
  for (std::size_t n = 0; n < kMaxNgram; ++n) {
    expect_scores(bleus[n], expected, "Bleu_" + std::to_string(n + 1));
  }
  expect_scores(rouge_l(samples), expected, "ROUGE_L");
  expect_scores(cider_d(samples, document_frequencies(samples)), expected, "CIDEr");
}

TEST(CaptionMetrics, SmallCasesByHand) {
  const std::vector<CaptionSample> same = {{"a b c d", {"a b c d"}}, {"e f g h", {"e f g h"}}};
  EXPECT_NEAR(bleu(same)[3].score, 1, 1e-6);
  EXPECT_DOUBLE_EQ(rouge_l(same).score, 1);
  EXPECT_NEAR(cider_d(same, document_frequencies(same)).score, 10, 1e-9);

  // Two of three words occur; the reference is one word longer: precision 2/3, exp(1 - 4/3).
  const std::vector<CaptionSample> one = {{"a x b", {"a b c d"}}};
  EXPECT_NEAR(bleu(one)[0].score, 2.0 / 3 * std::exp(1 - 4.0 / 3), 1e-8);
  EXPECT_NEAR(rouge_l(one).score, 2.44 * (2.0 / 3) * 0.5 / (0.5 + 1.44 * 2 / 3), 1e-12);
}

TEST(CaptionMetrics, FrequenciesOfAnotherSet) {
  const std::vector<CaptionSample> samples = {{"a cat", {"a cat"}}};
  // One picture alone: every word is in all pictures and weighs nothing.
  EXPECT_DOUBLE_EQ(cider_d(samples, document_frequencies(samples)).score, 0);
  DocumentFrequencies other;
  other.add(std::vector<std::string>{"a dog", "a dog"});
  other.add(std::vector<std::string>{"the bird"});
  EXPECT_EQ(other.pictures(), 2U);
  EXPECT_EQ(other["a"], 1U);
  EXPECT_EQ(other["a dog"], 1U);
  EXPECT_EQ(other["cat"], 0U);
  EXPECT_NEAR(cider_d(samples, other).score, 5, 1e-9);  // n-grams of one and two words of four
}

TEST(CaptionMetrics, Empty) {
  EXPECT_DOUBLE_EQ(rouge_l({}).score, 0);
  EXPECT_DOUBLE_EQ(bleu({})[0].score,
                   std::pow(1e-15 / 1e-9, 1.0) * std::exp(1 - 1 / (1e-15 / 1e-9)));
  const std::vector<CaptionSample> without = {{"a", {}}};
  EXPECT_THROW(bleu(without), Error);
  EXPECT_THROW(rouge_l(without), Error);
  DocumentFrequencies frequencies;
  EXPECT_THROW(cider_d(without, frequencies), Error);
  frequencies.add(std::vector<std::string>{"a"});
  EXPECT_THROW(cider_d(without, frequencies), Error);
  const std::vector<CaptionSample> silent = {{"", {"a"}}};
  EXPECT_LT(bleu(silent)[0].score, 1e-12);
  EXPECT_DOUBLE_EQ(rouge_l(silent).score, 0);
}

}  // namespace
}  // namespace blip
