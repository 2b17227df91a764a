#include <gtest/gtest.h>

#include <cmath>

#include "blip/base/json.h"
#include "train/run/adamw.h"
#include "train/run/schedule.h"

namespace blip::train {
namespace {

TEST(Schedules, AreTheAuthors) {
  const Json cases = read_json(BLIP_GOLDEN_DATA "/E_original/lr_schedules.json")["cases"];
  ASSERT_GT(cases.size(), 20U);
  for (const Json& c : cases) {
    const auto kind = c["kind"].get<std::string>();
    const auto a = c["args"].get<std::vector<double>>();
    const double rate = kind == "cosine" ? cosine_rate(a[0], a[1], a[2], a[3])
                        : kind == "step" ? step_rate(a[0], a[1], a[2], a[3])
                                         : warmup_rate(a[0], a[1], a[2], a[3]);
    const auto expected = c["lr"].get<double>();
    EXPECT_NEAR(rate, expected, 1e-12 * expected) << c.dump();
  }
}

TEST(Schedules, PutTogether) {
  OptimConfiguration optim;
  optim.lr = 1;
  optim.schedule = "step";
  optim.decay_rate = 0.5;
  optim.warmup_steps = 4;
  optim.warmup_lr = 0.2;
  EXPECT_DOUBLE_EQ(learning_rate(optim, 0, 10, 30), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(optim, 2, 10, 30), 0.6);
  EXPECT_DOUBLE_EQ(learning_rate(optim, 9, 10, 30), 1);
  EXPECT_DOUBLE_EQ(learning_rate(optim, 10, 10, 30), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(optim, 29, 10, 30), 0.25);
  optim.schedule = "cosine";
  optim.warmup_steps = 0;
  EXPECT_DOUBLE_EQ(learning_rate(optim, 9, 10, 20), 1);
  EXPECT_DOUBLE_EQ(learning_rate(optim, 10, 10, 20), 0.5);
  optim.per = "step";
  EXPECT_DOUBLE_EQ(learning_rate(optim, 5, 10, 20), cosine_rate(0.5, 2, 1, 0));
  optim.schedule = "constant";
  EXPECT_DOUBLE_EQ(learning_rate(optim, 19, 10, 20), 1);
}

TEST(AdamWStep, IsTorchs) {
  torch::manual_seed(1);
  OptimConfiguration options;
  options.lr = 0.01;
  std::vector<torch::Tensor> ours, theirs;
  for (const auto& shape : {std::vector<std::int64_t>{300, 200}, {7}, {1}}) {
    const torch::Tensor start = torch::randn(shape);
    ours.push_back(start.clone().requires_grad_());
    theirs.push_back(start.clone().requires_grad_());
  }
  AdamW optimizer(ours, options);
  torch::optim::AdamW reference(
      theirs, torch::optim::AdamWOptions(0.01).weight_decay(0.05).betas({0.9, 0.999}).eps(1e-8));
  for (int step = 0; step < 20; ++step) {
    for (std::size_t i = 0; i < ours.size(); ++i) {
      // The last one has no gradient now and then: it is not moved, and its steps are not counted.
      if (i == 2 && step % 3 == 0) {
        theirs[i].mutable_grad().reset();
        continue;
      }
      const torch::Tensor grad = torch::randn_like(ours[i]);
      ours[i].mutable_grad() = grad.clone();
      theirs[i].mutable_grad() = grad.clone();
    }
    optimizer.step(0.01);
    optimizer.zero_grad();
    reference.step();
  }
  for (std::size_t i = 0; i < ours.size(); ++i) {
    EXPECT_TRUE(torch::allclose(ours[i], theirs[i], 1e-5, 1e-6))
        << (ours[i] - theirs[i]).abs().max().item<float>();
  }
}

TEST(AdamWStep, Clips) {
  const torch::Tensor a = torch::zeros({3}).requires_grad_(),
                      b = torch::zeros({1}).requires_grad_();
  AdamW optimizer({a, b}, {});
  a.mutable_grad() = torch::tensor({2.0F, 0.0F, 1.0F});
  b.mutable_grad() = torch::tensor({2.0F});
  EXPECT_DOUBLE_EQ(optimizer.clip(30), 3);
  EXPECT_FLOAT_EQ(b.grad().item<float>(), 2);
  EXPECT_DOUBLE_EQ(optimizer.clip(1.5), 3);
  EXPECT_NEAR(b.grad().item<float>(), 1, 1e-6);
}

}  // namespace
}  // namespace blip::train
