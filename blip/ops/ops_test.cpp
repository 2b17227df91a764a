// Every kernel on every instruction set of this CPU against the definitions in reference.h.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/error.h"
#include "blip/base/random.h"
#include "blip/base/tensor.h"
#include "blip/ops/attention.h"
#include "blip/ops/dot.h"
#include "blip/ops/elementwise.h"
#include "blip/ops/isa.h"
#include "blip/ops/linear.h"
#include "blip/ops/lookup.h"
#include "blip/ops/matmul.h"
#include "blip/ops/quantize.h"
#include "blip/ops/reference.h"
#include "blip/ops/tiles.h"

namespace blip {
namespace {

std::vector<float> random_values(std::size_t size, std::uint64_t seed, float scale = 1.0f) {
  Random random(seed);
  std::vector<float> values(size);
  for (float& v : values) v = (static_cast<float>(random.uniform()) - 0.5f) * 2.0f * scale;
  return values;
}

void expect_near(const std::vector<float>& got, const std::vector<float>& wanted, float tolerance) {
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], wanted[i], tolerance + tolerance * std::fabs(wanted[i])) << "at " << i;
  }
}

WeightMatrix as_matrix(const std::vector<float>& w, std::size_t out) {
  const auto size = [](std::size_t n) { return static_cast<std::int64_t>(n); };
  return to_matrix(Weight({size(out), size(w.size() / out)}, w.data(), nullptr));
}

class OnEveryIsa : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override { force_isa(GetParam()); }
  void TearDown() override { force_isa(supported_isas().back()); }
};

INSTANTIATE_TEST_SUITE_P(Ops, OnEveryIsa, testing::ValuesIn(supported_isas()),
                         [](const auto& isa) { return std::string(name(isa.param)); });

const std::size_t kWidths[] = {1, 3, 7, 8, 12, 16, 31, 64, 100, 577, 768};

TEST_P(OnEveryIsa, MatmulFewRows) {
  for (const std::size_t in : kWidths) {
    for (const std::size_t rows : {1, 2, 3, 4, 5, 8, 11}) {
      for (const std::size_t out : {1, 2, 5, 64, 131}) {
        const auto x = random_values(rows * in, in * 7 + rows);
        const auto w = random_values(out * in, out);
        std::vector<float> wanted(rows * out), got(rows * out, -1);
        reference::linear(x.data(), w.data(), rows, out, in, wanted.data());
        matmul_few_rows(x.data(), as_matrix(w, out), rows, got.data());
        expect_near(got, wanted, 2e-5f);
      }
    }
  }
}

TEST_P(OnEveryIsa, ProductsOfCodesAreExact) {
  Random random(3);
  for (const std::size_t size : kWidths) {
    std::vector<std::int16_t> a(size);
    std::vector<std::int8_t> b(size);
    const int most = size < 500 ? 32767 : 21000;  // so that the sum stays in 32 bits
    for (std::int16_t& v : a) v = static_cast<std::int16_t>(random.uniform() * 2 * most - most);
    for (std::int8_t& v : b) v = static_cast<std::int8_t>(random.next());
    EXPECT_EQ(code_product()(a.data(), b.data(), size),
              reference::code_product(a.data(), b.data(), size));
  }
}

TEST_P(OnEveryIsa, LookupSums) {
  Random random(4);
  for (const std::size_t groups : {4, 8, 64, 256}) {
    constexpr std::size_t kBlocks = 5;
    std::vector<std::uint8_t> blocks(kBlocks * groups * kLookupBytes);
    std::vector<std::uint8_t> tables(groups * kLookupBytes);
    for (std::uint8_t& v : blocks) v = static_cast<std::uint8_t>(random.next());
    for (std::uint8_t& v : tables) v = groups == 256 ? 255 : std::uint8_t(random.next());
    std::vector<std::uint16_t> wanted(kBlocks * kLookupRows), got(wanted.size());
    reference::lookup_sums(blocks.data(), kBlocks, tables.data(), groups, wanted.data());
    lookup_sums(blocks.data(), kBlocks, tables.data(), groups, got.data());
    EXPECT_EQ(got, wanted) << groups;
  }
}

TEST_P(OnEveryIsa, RowsDoNotDependOnTheirNeighbours) {
  const std::size_t in = 157, out = 77, rows = 530;
  const auto x = random_values(rows * in, 1);
  const auto w = random_values(out * in, 2);
  std::vector<float> together(rows * out), alone(out);
  matmul_few_rows(x.data(), as_matrix(w, out), rows, together.data());
  for (std::size_t r = 0; r < rows; ++r) {
    matmul_few_rows(x.data() + r * in, as_matrix(w, out), 1, alone.data());
    for (std::size_t n = 0; n < out; ++n) ASSERT_EQ(alone[n], together[r * out + n]);
  }
}

TEST_P(OnEveryIsa, MatmulWithStridesBothWays) {
  const std::size_t m = 19, n = 23, k = 37, stride = 50;
  const auto a = random_values(m * stride, 3);
  const auto b = random_values(stride * stride, 4);
  for (const bool transposed : {false, true}) {
    std::vector<float> got(m * stride, 9.0f);
    const ConstMatrix right =
        transposed ? ConstMatrix{b.data(), n, k, stride} : ConstMatrix{b.data(), k, n, stride};
    matmul({a.data(), m, k, stride}, right, transposed, {got.data(), m, n, stride});
    for (std::size_t i = 0; i < m; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        double sum = 0;
        for (std::size_t p = 0; p < k; ++p) {
          sum += double{a[i * stride + p]} *
                 double{transposed ? b[j * stride + p] : b[p * stride + j]};
        }
        ASSERT_NEAR(got[i * stride + j], sum, 1e-4);
      }
      for (std::size_t j = n; j < stride; ++j)
        ASSERT_EQ(got[i * stride + j], 9.0f) << "wrote past a row";
    }
  }
}

TEST_P(OnEveryIsa, LinearWithEpilogueForTextsAndForPictures) {
  const std::size_t in = 24;
  // The last has columns enough for each thread to take its own.
  for (const std::size_t out : {std::size_t{37}, std::size_t{256} * 2 + 3, std::size_t{256} * 8}) {
    const auto w = random_values(in * out, 5);
    const auto b = random_values(out, 6);
    const Linear linear(as_matrix(w, out),
                        Weight({static_cast<std::int64_t>(out)}, b.data(), nullptr));
    for (const std::size_t rows : {1, 18, 70}) {
      const auto x = random_values(rows * in, rows);
      const auto residual = random_values(rows * out, rows + 1);
      std::vector<float> wanted(rows * out), few(rows * out), many(rows * out);
      reference::linear(x.data(), w.data(), rows, out, in, wanted.data());
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        wanted[i] = reference::gelu(wanted[i] + b[i % out]) + residual[i];
      }
      linear.forward(x.data(), rows, few.data(), Epilogue::Activation::gelu, residual.data());
      linear.forward_many(x.data(), rows, many.data(), Epilogue::Activation::gelu, residual.data());
      expect_near(few, wanted, 2e-5f);
      expect_near(many, wanted, 2e-5f);
    }
  }
}

TEST_P(OnEveryIsa, GeluOverItsRange) {
  std::vector<float> x, wanted;
  for (int i = -1200; i <= 1200; ++i) x.push_back(static_cast<float>(i) * 0.01f);
  for (const float extreme : {-1e30f, -100.0f, 100.0f, 1e30f}) x.push_back(extreme);
  for (const float v : x) wanted.push_back(reference::gelu(v));
  Epilogue epilogue;
  epilogue.activation = Epilogue::Activation::gelu;
  auto coarse = x;
  apply_epilogue(epilogue, {x.data(), 1, x.size(), 0, x.size()});
  expect_near(x, wanted, 1e-6f);
  epilogue.coarse = true;
  apply_epilogue(epilogue, {coarse.data(), 1, coarse.size() - 4, 0, coarse.size() - 4});
  coarse.resize(coarse.size() - 4);
  wanted.resize(coarse.size());
  expect_near(coarse, wanted, 2e-4f);
}

TEST_P(OnEveryIsa, LayerNorm) {
  for (const std::size_t width : kWidths) {
    const auto gamma = random_values(width, 8);
    const auto beta = random_values(width, 9);
    auto x = random_values(3 * width, width, 5.0f);
    for (std::size_t i = 0; i < width; ++i) x[i] += 100.0f;  // a mean far from zero must not cancel
    std::vector<float> wanted(x.size()), got(x.size());
    for (std::size_t r = 0; r < 3; ++r) {
      reference::layer_norm(x.data() + r * width, width, gamma.data(), beta.data(), 1e-6f,
                            wanted.data() + r * width);
    }
    layer_norm({gamma.data(), beta.data(), width, 1e-6f}, x.data(), 3, got.data());
    expect_near(got, wanted,
                width < 4 ? 2e-2f : 1e-4f);  // few values near 100 lose digits themselves
  }
}

TEST_P(OnEveryIsa, Softmax) {
  for (const std::size_t width : kWidths) {
    auto x = random_values(2 * width, width, 30.0f);
    auto wanted = x;
    for (std::size_t r = 0; r < 2; ++r) reference::softmax(wanted.data() + r * width, width, 0.3f);
    softmax(x.data(), 2, width, width, 0.3f);
    expect_near(x, wanted, 2e-6f);
  }
}

TEST_P(OnEveryIsa, SoftmaxOfHugeDifferences) {
  std::vector<float> x = {-1e30f, 0.0f, -500.0f, 1e4f, 1e4f};
  softmax(x.data(), 1, x.size(), x.size(), 1.0f);
  expect_near(x, {0, 0, 0, 0.5f, 0.5f}, 1e-6f);
}

std::vector<float> naive_attention(const AttentionShape& shape, const float* q, const float* k,
                                   const float* v, std::size_t tokens, std::size_t stride) {
  std::vector<float> out(shape.width());
  for (std::size_t h = 0; h < shape.heads; ++h) {
    const std::size_t o = h * shape.head_size;
    std::vector<float> scores(tokens);
    reference::linear(q + o,
                      std::vector<float>([&] {
                        std::vector<float> gathered;
                        for (std::size_t t = 0; t < tokens; ++t) {
                          gathered.insert(gathered.end(), k + t * stride + o,
                                          k + t * stride + o + shape.head_size);
                        }
                        return gathered;
                      }())
                          .data(),
                      1, tokens, shape.head_size, scores.data());
    reference::softmax(scores.data(), tokens,
                       1.0f / std::sqrt(static_cast<float>(shape.head_size)));
    for (std::size_t i = 0; i < shape.head_size; ++i) {
      double sum = 0;
      for (std::size_t t = 0; t < tokens; ++t)
        sum += double{scores[t]} * double{v[t * stride + o + i]};
      out[o + i] = static_cast<float>(sum);
    }
  }
  return out;
}

TEST_P(OnEveryIsa, AttentionAllToAll) {
  for (const std::size_t tokens : {1, 5, 96, 97, 200}) {
    for (const AttentionShape shape :
         {AttentionShape{2, 6}, AttentionShape{3, 32}, AttentionShape{1, 64}}) {
      const std::size_t width = shape.width();
      const auto qkv = random_values(tokens * 3 * width, tokens, 2.0f);
      std::vector<float> got(tokens * width);
      FloatBuffer scratch;
      attention_all_to_all(shape, qkv.data(), tokens, got.data(), scratch);
      for (std::size_t t = 0; t < tokens; ++t) {
        const auto wanted = naive_attention(shape, qkv.data() + t * 3 * width, qkv.data() + width,
                                            qkv.data() + 2 * width, tokens, 3 * width);
        expect_near({got.begin() + static_cast<long>(t * width),
                     got.begin() + static_cast<long>((t + 1) * width)},
                    wanted, 1e-5f);
      }
    }
  }
}

TEST_P(OnEveryIsa, AttentionAllToAllOfBf16) {
  if (!tiles_multiply(Precision::bf16))
    GTEST_SKIP() << "this CPU, or what it is held to, multiplies no bf16";
  for (const std::size_t tokens : {1, 5, 160, 163, 577}) {
    for (const AttentionShape shape : {AttentionShape{2, 6}, AttentionShape{3, 32}}) {
      const std::size_t width = shape.width();
      const auto qkv = random_values(tokens * 3 * width, tokens, 2.0f);
      std::vector<std::uint16_t> rounded(qkv.size());
      round_to_bf16(qkv.data(), qkv.size(), rounded.data());
      std::vector<float> got(tokens * width);
      attention_all_to_all_bf16(shape, rounded.data(), 1, tokens, got.data());
      for (const std::size_t t : {std::size_t{0}, tokens / 2, tokens - 1}) {
        const auto wanted = naive_attention(shape, qkv.data() + t * 3 * width, qkv.data() + width,
                                            qkv.data() + 2 * width, tokens, 3 * width);
        // Values up to 2 and weights lose 2^-9 of themselves, scores a little more.
        expect_near({got.begin() + static_cast<long>(t * width),
                     got.begin() + static_cast<long>((t + 1) * width)},
                    wanted, 4e-2f);
      }
    }
  }
}

TEST_P(OnEveryIsa, AttentionAllToAllOfBf16IsThatOfEachPictureHoweverManyThreadsShareIt) {
  if (!tiles_multiply(Precision::bf16))
    GTEST_SKIP() << "this CPU, or what it is held to, multiplies no bf16";
  constexpr std::size_t kTokens = 203, kPictures = 3;
  const AttentionShape shape{3, 32};
  const std::size_t size = kTokens * shape.width();
  const auto qkv = random_values(kPictures * 3 * size, 1, 2.0f);
  std::vector<std::uint16_t> rounded(qkv.size());
  round_to_bf16(qkv.data(), qkv.size(), rounded.data());
  std::vector<float> alone(kPictures * size);
  for (std::size_t i = 0; i < kPictures; ++i) {
    const ThreadScope threads({.num_threads = 1});
    attention_all_to_all_bf16(shape, &rounded[i * 3 * size], 1, kTokens, &alone[i * size]);
  }
  for (const int count : {1, 2, 5, 16}) {
    const ThreadScope threads({.num_threads = count});
    std::vector<float> together(kPictures * size);
    attention_all_to_all_bf16(shape, rounded.data(), kPictures, kTokens, together.data());
    EXPECT_EQ(together, alone) << count << " threads";
  }
}

TEST_P(OnEveryIsa, AttentionCachedGathersAnyOrder) {
  const AttentionShape shape{3, 20};
  const std::size_t width = shape.width(), slots = 9;
  const auto keys = random_values(slots * width, 1), values = random_values(slots * width, 2);
  const auto query = random_values(width, 3);
  const std::size_t order[] = {4, 0, 7, 7, 2};
  std::vector<const float*> k, v;
  std::vector<float> packed_keys, packed_values;
  for (const std::size_t slot : order) {
    k.push_back(keys.data() + slot * width);
    v.push_back(values.data() + slot * width);
    packed_keys.insert(packed_keys.end(), k.back(), k.back() + width);
    packed_values.insert(packed_values.end(), v.back(), v.back() + width);
  }
  std::vector<float> got(width);
  const AttentionQuery queries[] = {{query.data(), k, v, got.data()}};
  attention_cached(shape, queries);
  expect_near(
      got, naive_attention(shape, query.data(), packed_keys.data(), packed_values.data(), 5, width),
      1e-5f);
}

TEST_P(OnEveryIsa, AttentionSharedIsHeadMajor) {
  const AttentionShape shape{4, 16};
  const std::size_t tokens = 33, rows = 6, width = shape.width();
  const auto keys = random_values(tokens * width, 1), values = random_values(tokens * width, 2);
  const auto queries = random_values(rows * width, 3);
  std::vector<float> token_major_keys(tokens * width), token_major_values(tokens * width);
  for (std::size_t h = 0; h < shape.heads; ++h) {
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t i = 0; i < shape.head_size; ++i) {
        const std::size_t from = (h * tokens + t) * shape.head_size + i;
        token_major_keys[t * width + h * shape.head_size + i] = keys[from];
        token_major_values[t * width + h * shape.head_size + i] = values[from];
      }
    }
  }
  std::vector<float> got(rows * width);
  attention_shared(shape, queries.data(), rows,
                   SharedKeysValues<float>{keys.data(), values.data(), tokens}, got.data());
  for (std::size_t r = 0; r < rows; ++r) {
    const auto wanted = naive_attention(shape, queries.data() + r * width, token_major_keys.data(),
                                        token_major_values.data(), tokens, width);
    expect_near({got.begin() + static_cast<long>(r * width),
                 got.begin() + static_cast<long>((r + 1) * width)},
                wanted, 1e-5f);
  }
}

TEST_P(OnEveryIsa, AttentionSharedOfBf16IsThatOfItsValuesInF32) {
  const AttentionShape shape{3, 24};
  const std::size_t tokens = 37, rows = 5, size = tokens * shape.width();
  const auto queries = random_values(rows * shape.width(), 3);
  std::vector<std::uint16_t> narrow[2];
  std::vector<float> wide[2];
  for (unsigned i = 0; i < 2; ++i) {
    narrow[i].resize(size);
    wide[i].resize(size);
    round_to_bf16(random_values(size, i + 1).data(), size, narrow[i].data());
    widen_bf16(narrow[i].data(), size, wide[i].data());
  }
  std::vector<float> got(rows * shape.width()), wanted(rows * shape.width());
  attention_shared(shape, queries.data(), rows,
                   SharedKeysValues<std::uint16_t>{narrow[0].data(), narrow[1].data(), tokens},
                   got.data());
  attention_shared(shape, queries.data(), rows,
                   SharedKeysValues<float>{wide[0].data(), wide[1].data(), tokens}, wanted.data());
  expect_near(got, wanted, 1e-5f);
}

TEST(Isa, ListsTheReferenceAndRefusesWhatIsMissing) {
  const auto isas = supported_isas();
  ASSERT_EQ(isas.front(), Isa::reference);
  ASSERT_GE(isas.size(), 2u);
#if defined(__x86_64__)
  EXPECT_THROW(force_isa(Isa::neon), Error);
#endif
}

}  // namespace
}  // namespace blip
