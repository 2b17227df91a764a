#include "blip/generation/logits_processor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "blip/base/random.h"
#include "blip/generation/softmax.h"
#include "blip/generation/top_candidates.h"

namespace blip {
namespace {

std::vector<float> processed(const GenerationConfig& config, const std::vector<int>& ids,
                             std::vector<float> scores, int prompt_length = 1, int eos_id = 2) {
  process_logits(config, {ids, prompt_length, eos_id}, scores);
  return scores;
}

using Scores = std::vector<float>;

TEST(ProcessLogits, DefaultsChangeNothing) {
  EXPECT_EQ(processed({}, {0, 1}, {1, -2, 3}), (Scores{1, -2, 3}));
}

TEST(ProcessLogits, RepetitionPenaltyTakesEachIdOnce) {
  GenerationConfig config;
  config.repetition_penalty = 2;
  EXPECT_EQ(processed(config, {0, 1, 1, 0, 900, -4}, {8, -8, 3, -1}), (Scores{4, -16, 3, -1}));
}

TEST(ProcessLogits, NoRepeatNgram) {
  GenerationConfig config;
  const Scores ones(5, 1);
  config.no_repeat_ngram_size = 1;
  EXPECT_EQ(processed(config, {0, 3}, ones), (Scores{kRuledOut, 1, 1, kRuledOut, 1}));
  config.no_repeat_ngram_size = 2;
  EXPECT_EQ(processed(config, {3, 1, 4, 3, 2, 3}, ones), (Scores{1, kRuledOut, kRuledOut, 1, 1}));
  EXPECT_EQ(processed(config, {4}, ones), ones);
  config.no_repeat_ngram_size = 3;
  EXPECT_EQ(processed(config, {1, 2, 0, 1, 2}, ones), (Scores{kRuledOut, 1, 1, 1, 1}));
  EXPECT_EQ(processed(config, {1, 2}, ones), ones);
  EXPECT_EQ(processed(config, {1, 2, 70, 1, 2}, ones), ones);
}

TEST(ProcessLogits, BadWords) {
  GenerationConfig config;
  config.bad_words_ids = {{4}, {1, 3}, {2}, {0, 1, 0}, {9, 9, 9, 9}, {77}};
  const Scores ones(5, 1);
  EXPECT_EQ(processed(config, {0}, ones), (Scores{1, 1, 1, 1, kRuledOut})) << "[SEP] stays allowed";
  EXPECT_EQ(processed(config, {3, 1}, ones), (Scores{1, 1, 1, kRuledOut, kRuledOut}));
  EXPECT_EQ(processed(config, {0, 1}, ones), (Scores{kRuledOut, 1, 1, kRuledOut, kRuledOut}));
}

TEST(ProcessLogits, MinimumLengths) {
  GenerationConfig config;
  const Scores ones(3, 1);
  const Scores no_end = {1, 1, kRuledOut};
  config.min_length = 3;
  EXPECT_EQ(processed(config, {0, 1}, ones), no_end);
  EXPECT_EQ(processed(config, {0, 1, 1}, ones), ones);
  config.min_new_tokens = 3;
  EXPECT_EQ(processed(config, {0, 1, 1}, ones), no_end);
  EXPECT_EQ(processed(config, {0, 1, 1, 1}, ones), ones);
  config.min_new_tokens = 0;  // wins over min_length
  EXPECT_EQ(processed(config, {0, 1}, ones), ones);
  config.min_new_tokens = 3;
  EXPECT_EQ(processed(config, {0, 1}, ones, 1, 50), ones) << "[SEP] beyond the vocabulary";
}

TEST(ProcessLogits, ForcedPrefixKeepsItsScoreAgainstAllElse) {
  GenerationConfig config;
  config.forced_prefix_ids = {1, 2};
  config.min_length = 10;
  config.repetition_penalty = 2;
  config.bad_words_ids = {{1}};
  EXPECT_EQ(processed(config, {1}, {4, -3, 2}), (Scores{kRuledOut, -3, kRuledOut}));
  EXPECT_EQ(processed(config, {1, 1}, {4, -3, 2}), (Scores{kRuledOut, kRuledOut, 2}));
  EXPECT_EQ(processed(config, {1, 1, 2}, {4, -3, 2}), (Scores{4, kRuledOut, kRuledOut}));
}

TEST(Softmax, NormalizerMatchesDouble) {
  Random random(3);
  for (const std::size_t size : {1, 2, 15, 16, 17, 255, 256, 257, 1000, 30524}) {
    for (const float spread : {0.0f, 1.0f, 40.0f}) {
      std::vector<float> x(size);
      for (float& v : x) v = static_cast<float>(random.uniform() - 0.5) * spread + 100;
      const double max = *std::max_element(x.begin(), x.end());
      double sum = 0;
      for (const float v : x) sum += std::exp(v - max);
      const LogNormalizer normalizer = log_normalizer(x);
      EXPECT_EQ(normalizer.max, static_cast<float>(max));
      EXPECT_NEAR(normalizer.log_sum, std::log(sum), 3e-7 * (1 + std::log(sum))) << size;
    }
  }
}

TEST(Softmax, NearCertainTokensKeepTheirDigits) {
  std::vector<float> x(1000, -8);
  x[5] = 10;
  const double exact = -std::log1p(999 * std::exp(-18.0));
  EXPECT_NEAR(log_normalizer(x).log_prob(10) / exact, 1, 1e-5);
}

TEST(Softmax, ExponentialIsAccurate) {
  double worst = 0;
  for (float x = kLeastExponent; x <= 0; x += 0.0101f) {
    worst = std::max(worst, std::abs(exp_nonpositive(x) / std::exp(static_cast<double>(x)) - 1));
  }
  EXPECT_LT(worst, 1.2e-7);
  EXPECT_EQ(exp_nonpositive(0), 1);
  EXPECT_EQ(clamp_exponent(kRuledOut), kLeastExponent);
}

TEST(Softmax, MinusInfinityIsImpossibleAndNanIsReported) {
  std::vector<float> x = {kRuledOut, 0, kRuledOut, 0};
  log_softmax(x);
  EXPECT_EQ(x[0], kRuledOut);
  EXPECT_NEAR(x[1], -std::log(2.0), 1e-7);

  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::size_t place : {0, 17, 299}) {
    for (const float bad : {nan, -nan, -kRuledOut}) {
      std::vector<float> row(300, 1);
      row[place] = bad;
      EXPECT_TRUE(std::isnan(log_normalizer(row).log_sum)) << place << " " << bad;
    }
  }
  EXPECT_TRUE(std::isnan(log_normalizer(std::vector<float>(20, kRuledOut)).log_sum));
  EXPECT_TRUE(std::isnan(log_normalizer({}).log_sum));
}

// A row whose values repeat, so that ties decide; some are ruled out.
std::vector<float> tied_row(Random& random, std::size_t size) {
  std::vector<float> row(size);
  for (float& x : row) {
    x = static_cast<float>(random.next() % 40) / 8;
    if (random.next() % 16 == 0) x = kRuledOut;
  }
  return row;
}

TEST(TopCandidates, AgreesWithAStableSort) {
  Random random(5);
  for (const std::size_t size : {3, 64, 65, 1000}) {
    for (const std::size_t capacity : {1, 2, 6, 16}) {
      TopCandidates top(capacity);
      std::vector<Candidate> all;
      for (int beam = 0; beam < 3; ++beam) {
        const std::vector<float> row = tied_row(random, size);
        const float base = static_cast<float>(random.next() % 3);
        top.offer(beam, base, row);
        for (std::size_t i = 0; i < size; ++i) {
          all.push_back({0, base + row[i], beam, static_cast<int>(i)});
        }
      }
      std::stable_sort(all.begin(), all.end(),
                       [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
      all.resize(std::min(all.size(), capacity));
      ASSERT_EQ(top.best().size(), all.size());
      for (std::size_t i = 0; i < all.size(); ++i) {
        EXPECT_EQ(top.best()[i].score, all[i].score);
        EXPECT_EQ(top.best()[i].beam, all[i].beam);
        EXPECT_EQ(top.best()[i].token, all[i].token);
      }
    }
  }
}

TEST(TopCandidates, KthLargestCountsEquals) {
  Random random(6);
  std::vector<float> scratch;
  for (const std::size_t size : {1, 64, 200, 1000}) {
    const std::vector<float> row = tied_row(random, size);
    std::vector<float> sorted = row;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    for (const std::size_t k : {1, 2, 50, 63, 64, 199, 5000}) {
      EXPECT_EQ(kth_largest(row, k, scratch), sorted[std::min(k, size) - 1]) << size << " " << k;
    }
  }
}

// Two draws without replacement: P(a then b) = p_a * p_b / (1 - p_a).
TEST(TopCandidates, DrawsWithoutReplacement) {
  const double p[] = {0.5, 0.3, 0.15, 0.05};
  std::vector<float> row = {kRuledOut};
  for (const double x : p) row.push_back(static_cast<float>(std::log(x)) - 3);
  constexpr int kDraws = 40000;
  std::vector<int> seen(25, 0);
  Random random(9);
  for (int i = 0; i < kDraws; ++i) {
    TopCandidates top(2);
    top.offer_drawn(0, 1, row, random);
    ++seen[static_cast<std::size_t>(top.best()[0].token * 5 + top.best()[1].token)];
  }
  double chi_square = 0;
  for (std::size_t a = 0; a < 4; ++a) {
    for (std::size_t b = 0; b < 4; ++b) {
      if (a == b) continue;
      const double expected = kDraws * p[a] * p[b] / (1 - p[a]);
      const double difference = seen[(a + 1) * 5 + b + 1] - expected;
      chi_square += difference * difference / expected;
    }
  }
  EXPECT_LT(chi_square, 31.3);  // 11 degrees of freedom, one in a thousand
  TopCandidates all(5);
  all.offer_drawn(0, 0, row, random);
  EXPECT_EQ(all.best().back().token, 0) << "what is ruled out only fills up";
}

}  // namespace
}  // namespace blip
