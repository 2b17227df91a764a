#include "train/model/attention.h"

#include <gtest/gtest.h>

#include <cmath>

namespace blip::train {
namespace {

using torch::Tensor;

/// The formula, by torch's own operations.
Tensor plain_attention(const Tensor& q, const Tensor& k, const Tensor& v, int heads,
                       const Tensor& mask) {
  const auto split = [&](const Tensor& x) {
    return x.reshape({x.size(0), x.size(1), heads, -1}).transpose(1, 2);
  };
  Tensor scores = split(q).matmul(split(k).transpose(-2, -1)) /
                  std::sqrt(static_cast<double>(q.size(2) / heads));
  if (mask.defined()) scores = scores + mask;
  return scores.softmax(-1).matmul(split(v)).transpose(1, 2).flatten(2);
}

void expect_like_plain(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask) {
  constexpr int kHeads = 3;
  const Tensor got = attention(q, k, v, kHeads, mask, 0);
  const Tensor wanted = plain_attention(q, k, v, kHeads, mask);
  EXPECT_TRUE(got.allclose(wanted, 1e-5, 1e-6));
  const Tensor weights = torch::randn_like(wanted);
  const auto gradients = torch::autograd::grad({(got * weights).sum()}, {q, k, v});
  const auto expected = torch::autograd::grad({(wanted * weights).sum()}, {q, k, v});
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(gradients[i].allclose(expected[i], 1e-4, 1e-5)) << "gradient " << i;
  }
}

TEST(Attention, IsTheFormula) {
  torch::manual_seed(1);
  const auto random = [](std::int64_t rows) {
    return torch::randn({2, rows, 12}, torch::requires_grad());
  };
  const Tensor q = random(5), k = random(7), v = random(7);
  expect_like_plain(q, k, v, {});
  Tensor mask = torch::ones({2, 7});
  mask[1].slice(0, 4).fill_(0);
  expect_like_plain(q, k, v, additive_mask(mask, false));
  expect_like_plain(k, k.detach().clone().requires_grad_(true), v, additive_mask(mask, true));
}

TEST(Attention, TakesPartsOfOneTensor) {
  torch::manual_seed(2);
  const Tensor qkv = torch::randn({2, 5, 36});
  std::vector<Tensor> parts;
  for (const Tensor& part : qkv.chunk(3, -1)) parts.push_back(part.requires_grad_(true));
  ASSERT_FALSE(parts[1].is_contiguous());
  expect_like_plain(parts[0], parts[1], parts[2], {});
}

TEST(Attention, CausalMaskHidesWhatComesLater) {
  torch::manual_seed(3);
  const Tensor x = torch::randn({1, 6, 12}), mask = additive_mask(torch::ones({1, 6}), true);
  const Tensor before = attention(x, x, x, 3, mask, 0);
  Tensor changed = x.clone();
  changed.select(1, 4).add_(1);
  const Tensor after = attention(changed, changed, changed, 3, mask, 0);
  EXPECT_TRUE(after.slice(1, 0, 4).equal(before.slice(1, 0, 4)));
  EXPECT_FALSE(after.select(1, 5).equal(before.select(1, 5)));
}

TEST(Attention, DropoutKeepsTheMean) {
  torch::manual_seed(4);
  const Tensor q = torch::randn({1, 4, 12}), v = torch::randn({1, 9, 12});
  Tensor sum = torch::zeros({1, 4, 12});
  for (int i = 0; i < 4000; ++i) sum += attention(q, v, v, 3, {}, 0.3);
  EXPECT_TRUE((sum / 4000).allclose(attention(q, v, v, 3, {}, 0), 0.05, 0.05));
}

TEST(Attention, DropoutHasTheGradientOfWhatItKept) {
  const Tensor q = torch::randn({1, 4, 6}, torch::kFloat),
               v = torch::randn({1, 5, 6}).requires_grad_(true);
  const auto run = [&](const Tensor& values) {
    torch::manual_seed(5);
    return attention(q, q.repeat({1, 2, 1}).slice(1, 0, 5), values, 2, {}, 0.4);
  };
  // Linear in the values, so that one step of any size gives the gradient.
  const Tensor step = torch::randn_like(v);
  const Tensor gradient = torch::autograd::grad({run(v).sum()}, {v})[0];
  const double along = (run(v + step).sum() - run(v).sum()).item<double>();
  EXPECT_NEAR((gradient * step).sum().item<double>(), along, 1e-3);
}

}  // namespace
}  // namespace blip::train
