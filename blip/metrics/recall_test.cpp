#include "blip/metrics/recall.h"

#include <gtest/gtest.h>

#include <vector>

#include "blip/base/error.h"
#include "blip/metrics/nlvr_accuracy.h"

namespace blip {
namespace {

std::size_t rank(std::vector<float> scores, std::vector<std::size_t> right) {
  return best_rank(scores, right);
}

TEST(Recall, RankOfTheBest) {
  EXPECT_EQ(rank({0.1F, 0.9F, 0.5F}, {1}), 0U);
  EXPECT_EQ(rank({0.1F, 0.9F, 0.5F}, {0, 2}), 1U);
  EXPECT_EQ(rank({0.1F, 0.9F, 0.5F}, {}), Recall::kMissed);
  EXPECT_THROW(rank({0.1F}, {1}), Error);
}

TEST(Recall, OfEqualScoresTheLaterComesFirst) {
  // numpy: np.argsort([1, 1, 1, 2])[::-1] is [3, 2, 1, 0].
  EXPECT_EQ(rank({1, 1, 1, 2}, {0}), 3U);
  EXPECT_EQ(rank({1, 1, 1, 2}, {2}), 1U);
  EXPECT_EQ(rank({1, 1, 1, 2}, {0, 2}), 1U);
  EXPECT_EQ(rank({-100, -100, 3}, {0}), 2U);
}

TEST(Recall, Counts) {
  Recall recall;
  EXPECT_EQ(recall.at_1(), 0);
  for (const std::size_t place : {0U, 0U, 3U, 4U, 5U, 9U, 10U}) recall.add(place);
  recall.add(Recall::kMissed);
  EXPECT_EQ(recall.queries(), 8U);
  EXPECT_DOUBLE_EQ(recall.at_1(), 25);
  EXPECT_DOUBLE_EQ(recall.at_5(), 50);
  EXPECT_DOUBLE_EQ(recall.at_10(), 75);
  EXPECT_DOUBLE_EQ(recall.mean(), 50);
}

TEST(NlvrAccuracy, ExamplesAndSentences) {
  NlvrAccuracy accuracy;
  EXPECT_EQ(accuracy.accuracy(), 0);
  accuracy.add("a", true);
  accuracy.add("a", false);
  accuracy.add("a", true);
  accuracy.add("b", true);
  EXPECT_EQ(accuracy.examples(), 4U);
  EXPECT_EQ(accuracy.sentences(), 2U);
  EXPECT_DOUBLE_EQ(accuracy.accuracy(), 75);
  EXPECT_DOUBLE_EQ(accuracy.consistency(), 50);
}

}  // namespace
}  // namespace blip
