#include "blip/generation/logits_warper.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "blip/base/random.h"
#include "blip/generation/logits_processor.h"

namespace blip {
namespace {

GenerationConfig plain() {
  GenerationConfig config;
  config.do_sample = true;
  config.top_k = 0;
  return config;
}

// Ids that survive, for the given probabilities.
std::vector<int> left(const GenerationConfig& config, const std::vector<double>& probabilities,
                      int min_tokens_to_keep = 1) {
  std::vector<float> scores;
  for (const double p : probabilities) scores.push_back(static_cast<float>(std::log(p)));
  LogitsWarper(config, min_tokens_to_keep).warp(scores);
  std::vector<int> ids;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] == kRuledOut) continue;
    EXPECT_EQ(scores[i], static_cast<float>(std::log(probabilities[i])));
    ids.push_back(static_cast<int>(i));
  }
  return ids;
}

using Ids = std::vector<int>;

TEST(LogitsWarper, NeutralValuesChangeNothing) {
  EXPECT_EQ(left(plain(), {0.1, 0.2, 0.7}), (Ids{0, 1, 2}));
  std::vector<float> none;
  LogitsWarper(GenerationConfig(), 1).warp(none);
}

TEST(LogitsWarper, TemperatureDivides) {
  GenerationConfig config = plain();
  config.temperature = 0.5;
  std::vector<float> scores = {1, -2, kRuledOut};
  LogitsWarper(config, 1).warp(scores);
  EXPECT_EQ(scores, (std::vector<float>{2, -4, kRuledOut}));
}

TEST(LogitsWarper, TopKKeepsTiesWithTheLast) {
  GenerationConfig config = plain();
  config.top_k = 2;
  EXPECT_EQ(left(config, {0.1, 0.2, 0.4, 0.2, 0.1}), (Ids{1, 2, 3}));
  config.top_k = 1;
  EXPECT_EQ(left(config, {0.1, 0.3, 0.6}), (Ids{2}));
  EXPECT_EQ(left(config, {0.1, 0.3, 0.6}, 2), (Ids{1, 2}));
  config.top_k = 1000;
  EXPECT_EQ(left(config, {0.1, 0.3, 0.6}), (Ids{0, 1, 2}));
}

TEST(LogitsWarper, TopPKeepsTheTokenThatCrosses) {
  GenerationConfig config = plain();
  config.top_p = 0.65;
  EXPECT_EQ(left(config, {0.1, 0.2, 0.5, 0.2}), (Ids{2, 3})) << "of equals the later one stays";
  config.top_p = 0.4;
  EXPECT_EQ(left(config, {0.1, 0.2, 0.5, 0.2}), (Ids{2}));
  config.top_p = 0;
  EXPECT_EQ(left(config, {0.1, 0.2, 0.5, 0.2}), (Ids{2}));
  EXPECT_EQ(left(config, {0.1, 0.2, 0.5, 0.2}, 2), (Ids{2, 3}));
  EXPECT_EQ(left(config, {1}, 2), (Ids{0}));
}

TEST(LogitsWarper, TopPSeesOnlyWhatTopKLeft) {
  GenerationConfig config = plain();
  config.top_k = 3;
  config.top_p = 0.8;  // of 0.4, 0.2, 0.2 renormalised to 0.5, 0.25, 0.25
  EXPECT_EQ(left(config, {0.1, 0.4, 0.2, 0.2, 0.1}), (Ids{1, 2, 3}));
  config.top_p = 0.7;
  EXPECT_EQ(left(config, {0.1, 0.4, 0.2, 0.2, 0.1}), (Ids{1, 3}));
}

TEST(LogitsWarper, MinPIsAShareOfTheBest) {
  GenerationConfig config = plain();
  config.min_p = 0.3;
  EXPECT_EQ(left(config, {0.5, 0.14, 0.16, 0.2}), (Ids{0, 2, 3}));
  config.min_p = 1;
  EXPECT_EQ(left(config, {0.4, 0.1, 0.4, 0.1}), (Ids{0, 2}));
  EXPECT_EQ(left(config, {0.5, 0.1, 0.2, 0.2}, 2).size(), 2u);
}

TEST(LogitsWarper, TypicalKeepsInformationNearTheEntropy) {
  GenerationConfig config = plain();
  // Entropy 1.17; informations 0.69, 1.20, 2.30, 2.30: the likeliest token is not the most typical.
  const std::vector<double> p = {0.5, 0.3, 0.1, 0.1};
  config.typical_p = 0.2;
  EXPECT_EQ(left(config, p), (Ids{1}));
  EXPECT_EQ(left(config, p, 2), (Ids{0, 1}));
  config.typical_p = 0.5;
  EXPECT_EQ(left(config, p), (Ids{0, 1}));
  config.typical_p = 0.85;
  EXPECT_EQ(left(config, p), (Ids{0, 1, 2, 3})) << "equals stay together";
  config.typical_p = 0.9999999;
  EXPECT_EQ(left(config, p), (Ids{0, 1, 2, 3}));
}

TEST(LogitsWarper, EpsilonAndEtaCutTheTail) {
  GenerationConfig config = plain();
  config.epsilon_cutoff = 0.12;
  EXPECT_EQ(left(config, {0.5, 0.3, 0.1, 0.1}), (Ids{0, 1}));
  config.epsilon_cutoff = 0.9;
  EXPECT_EQ(left(config, {0.5, 0.3, 0.1, 0.1}), (Ids{0}));
  EXPECT_EQ(left(config, {0.1, 0.5, 0.3, 0.1}, 2), (Ids{1, 2}));

  config = plain();
  config.eta_cutoff = 0.25;  // min(0.25, 0.5 * exp(-entropy 1.237)) = 0.145
  EXPECT_EQ(left(config, {0.5, 0.16, 0.14, 0.2}), (Ids{0, 1, 3}));
  config.eta_cutoff = 0.01;  // min(0.01, 0.1 * exp(-1.07)) = 0.01
  EXPECT_EQ(left(config, {0.5, 0.3, 0.191, 0.009}), (Ids{0, 1, 2}));
}

TEST(LogitsWarper, SomethingIsAlwaysLeft) {
  Random random(11);
  for (int trial = 0; trial < 300; ++trial) {
    GenerationConfig config = plain();
    config.temperature = 0.2 + random.uniform() * 3;
    config.top_k = static_cast<int>(random.next() % 8);
    config.top_p = random.uniform();
    config.min_p = random.uniform();
    config.typical_p = 0.01 + 0.98 * random.uniform();
    config.epsilon_cutoff = 0.99 * random.uniform();
    config.eta_cutoff = 0.99 * random.uniform();
    const int keep = 1 + static_cast<int>(random.next() % 2);
    std::vector<float> scores(2 + random.next() % 90);
    for (float& x : scores) x = static_cast<float>(random.uniform() * 20 - 10);
    if (random.next() % 4 == 0) std::fill(scores.begin() + 2, scores.end(), kRuledOut);
    LogitsWarper(config, keep).warp(scores);
    const auto allowed =
        std::count_if(scores.begin(), scores.end(), [](float x) { return x > kRuledOut; });
    EXPECT_GE(allowed, keep);
  }
}

}  // namespace
}  // namespace blip
