#include "train/model/hard_negatives.h"

#include <gtest/gtest.h>

#include "blip/base/error.h"

namespace blip::train {
namespace {

using torch::Tensor;

/// A rank that has nobody to talk to.
class Rank final : public Communicator {
 public:
  Rank(std::int64_t rank, std::int64_t size) : rank_(rank), size_(size) {}
  std::int64_t rank() const override { return rank_; }
  std::int64_t size() const override { return size_; }
  Tensor all_gather(const Tensor&) override { throw std::logic_error("unexpected"); }
  Tensor all_gather_with_gradient(const Tensor&) override { throw std::logic_error("unexpected"); }

 private:
  std::int64_t rank_, size_;
};

TEST(HardNegatives, AreDrawnAsOftenAsTheyWeigh) {
  const Tensor weights = torch::tensor({{0.0, 1.0, 2.0, 5.0, 0.0}}).repeat({40000, 1});
  const Tensor drawn = draw_negatives(weights, 1, 7, 0, SingleProcess());
  const Tensor share = at::bincount(drawn, {}, 5).to(torch::kDouble) / 40000;
  EXPECT_EQ(share[0].item<double>(), 0);
  EXPECT_NEAR(share[1].item<double>(), 0.125, 0.01);
  EXPECT_NEAR(share[2].item<double>(), 0.25, 0.01);
  EXPECT_NEAR(share[3].item<double>(), 0.625, 0.01);
  EXPECT_EQ(share[4].item<double>(), 0) << "the last column is drawn though it weighs nothing";
}

TEST(HardNegatives, DependOnSeedStepAndPlaceAlone) {
  torch::manual_seed(3);
  const Tensor weights = torch::rand({8, 8});
  const Tensor whole = draw_negatives(weights, 1, 7, 0, SingleProcess());
  torch::rand({100});  // torch's own generator has no say
  EXPECT_TRUE(draw_negatives(weights, 1, 7, 0, SingleProcess()).equal(whole));
  const Tensor first = draw_negatives(weights.slice(0, 0, 4), 1, 7, 0, Rank(0, 2));
  const Tensor second = draw_negatives(weights.slice(0, 4), 1, 7, 0, Rank(1, 2));
  EXPECT_TRUE(at::cat({first, second}).equal(whole)) << "two ranks draw otherwise than one";
  EXPECT_FALSE(draw_negatives(weights, 1, 8, 0, SingleProcess()).equal(whole));
  EXPECT_FALSE(draw_negatives(weights, 2, 7, 0, SingleProcess()).equal(whole));
  EXPECT_FALSE(draw_negatives(weights, 1, 7, 1, SingleProcess()).equal(whole));
}

TEST(HardNegatives, WeighNothingWhereExcluded) {
  const Tensor similarities = torch::tensor({{9.0, 1.0, 2.0}, {0.0, 5.0, 0.0}});
  const Tensor excluded = torch::tensor({{1, 0, 0}, {0, 1, 0}}).to(torch::kBool);
  const Tensor weights = negative_weights(similarities, excluded, 1e-4);
  EXPECT_EQ(weights[0][0].item<float>(), 0);
  EXPECT_EQ(weights[1][1].item<float>(), 0);
  EXPECT_GT(weights[0][2].item<float>(), weights[0][1].item<float>());
}

TEST(HardNegatives, OfARowThatUnderflowsAreAlike) {
  const Tensor similarities = torch::tensor({{1000.0, 0.0, 1.0}});
  const Tensor excluded = torch::tensor({{1, 0, 0}}).to(torch::kBool);
  const Tensor weights = negative_weights(similarities, excluded, 0);
  EXPECT_TRUE(weights.equal(torch::tensor({{0.0f, 1.0f, 1.0f}})));
}

TEST(HardNegatives, NeedAnotherPicture) {
  const Tensor excluded = torch::ones({2, 2}, torch::kBool);
  try {
    negative_weights(torch::zeros({2, 2}), excluded, 1e-4);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::usage);
  }
}

}  // namespace
}  // namespace blip::train
