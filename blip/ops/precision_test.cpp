// bf16 and int8: conversions, products and epilogues on every instruction set of this CPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/error.h"
#include "blip/base/random.h"
#include "blip/ops/isa.h"
#include "blip/ops/linear.h"
#include "blip/ops/peak.h"
#include "blip/ops/quantize.h"
#include "blip/ops/reference.h"
#include "blip/ops/tiles.h"

// LLVM's OpenMP loses some of its own memory where threads become more.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libomp.so";
}

namespace blip {
namespace {

std::vector<float> random_values(std::size_t size, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> values(size);
  for (float& v : values) v = static_cast<float>(random.uniform()) * 2.0f - 1.0f;
  return values;
}

Weight view(const std::vector<float>& values, std::size_t rows) {
  const auto size = [](std::size_t n) { return static_cast<std::int64_t>(n); };
  return Weight({size(rows), size(values.size() / rows)}, values.data(), nullptr);
}
Weight view(const std::vector<float>& values) {
  return Weight({static_cast<std::int64_t>(values.size())}, values.data(), nullptr);
}

class PrecisionOnEveryIsa : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override { force_isa(GetParam()); }
  void TearDown() override { force_isa(supported_isas().back()); }
};

INSTANTIATE_TEST_SUITE_P(Ops, PrecisionOnEveryIsa, testing::ValuesIn(supported_isas()),
                         [](const auto& isa) { return std::string(name(isa.param)); });

TEST_P(PrecisionOnEveryIsa, Bf16RoundsToNearestEvenAndBack) {
  const float inf = std::numeric_limits<float>::infinity();
  // 1 + 2^-8 lies half way: down to the even 1; 1 + 3 * 2^-8 up to the even 1 + 2^-6.
  const std::vector<float> x = {0.0f,   -0.0f,   1.0f, 1.00390625f, 1.01171875f, 1.003907f, -2.5f,
                                1e-40f, 3.4e38f, inf,  -inf,        65504.0f,    0.1f};
  const std::vector<float> wanted = {
      0.0f,          -0.0f,      1.0f,  1.0f,
      1.015625f,     1.0078125f, -2.5f, std::bit_cast<float>(0x00010000u),
      inf,           inf,        -inf,  65536.0f,
      0.10009765625f};
  std::vector<std::uint16_t> bits(x.size() + 1);
  std::vector<float> back(x.size());
  round_to_bf16(x.data(), x.size(), bits.data());
  widen_bf16(bits.data(), x.size(), back.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(back[i]), std::bit_cast<std::uint32_t>(wanted[i]))
        << x[i] << " became " << back[i];
  }
  std::vector<float> nans(19, std::bit_cast<float>(0x7F800001u));
  std::vector<std::uint16_t> of_nans(nans.size());
  round_to_bf16(nans.data(), nans.size(), of_nans.data());
  widen_bf16(of_nans.data(), nans.size(), nans.data());
  for (const float v : nans) EXPECT_TRUE(std::isnan(v));
}

TEST_P(PrecisionOnEveryIsa, QuantisedRowsStayWithinHalfAStep) {
  const int levels = activation_levels();
  for (const std::size_t width : {1, 7, 8, 64, 131}) {
    auto x = random_values(3 * width, width);
    for (std::size_t i = 0; i < width; ++i) x[width + i] = std::fabs(x[width + i]) + 5;  // all > 0
    for (std::size_t i = 0; i < width; ++i) x[2 * width + i] = 0;
    std::vector<std::uint8_t> q(x.size());
    std::vector<RowScale> scales(3);
    quantize_rows(x.data(), 3, width, nullptr, q.data(), scales.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const RowScale row = scales[i / width];
      ASSERT_LE(q[i], levels);
      const float back = row.scale * static_cast<float>(int{q[i]} - row.zero_point);
      ASSERT_NEAR(back, x[i], row.scale * 1.01f) << "at " << i << " of width " << width;
    }
  }
}

TEST_P(PrecisionOnEveryIsa, QuantisingSurvivesWhatIsNoNumber) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  std::vector<float> x(37, 1.0f);
  x[3] = nan;
  x[20] = -inf;
  x[36] = inf;
  std::vector<std::uint8_t> q(x.size());
  RowScale scale{};
  quantize_rows(x.data(), 1, x.size(), nullptr, q.data(), &scale);
  EXPECT_TRUE(std::isfinite(scale.scale));
  for (const std::uint8_t v : q) EXPECT_LE(v, activation_levels());
  std::vector<std::int8_t> w(x.size());
  float weight_scale = 0;
  quantize_weights(x.data(), x.size(), nullptr, w.data(), weight_scale);
  EXPECT_TRUE(std::isfinite(weight_scale));
  EXPECT_GT(weight_scale, 0);
}

TEST_P(PrecisionOnEveryIsa, IntegerProductsAreExactAtTheLimits) {
  const std::size_t rows = 13, in = 300, out = 40;
  WeightMatrix w = to_int8(view(random_values(out * in, 1), out), {});
  std::vector<std::int8_t> extreme(out * in, 127);
  for (std::size_t i = 0; i < extreme.size(); i += 3) extreme[i] = -127;
  std::fill_n(extreme.begin(), in, std::int8_t{127});
  w.data = extreme.data();
  const std::vector<std::uint8_t> q(rows * in, static_cast<std::uint8_t>(activation_levels()));
  std::vector<std::int32_t> got(rows * 21), wanted(rows * 21);
  matmul_int8(q.data(), rows, w, {0, 21}, got.data());
  reference::matmul_int8(q.data(), extreme.data(), rows, 21, in, wanted.data());
  EXPECT_EQ(got, wanted);
}

TEST_P(PrecisionOnEveryIsa, IntegerTilesAreExactAtTheLimits) {
  const std::size_t rows = 13, in = 320, out = 40;
  WeightMatrix w = to_int8(view(random_values(out * in, 1), out), {});
  std::vector<std::int8_t> extreme(out * in, 127);
  for (std::size_t i = in; i < extreme.size(); i += 3) extreme[i] = -127;
  w.data = extreme.data();
  if (!fits_tiles(w)) GTEST_SKIP() << "this CPU, or what it is held to, has no tiles for bytes";
  const std::vector<std::uint8_t> q(rows * in, static_cast<std::uint8_t>(activation_levels()));
  const TiledRows layout = tiled_rows(w, rows);
  const std::vector<std::uint8_t> tiled(layout.bytes(), q.front());
  std::vector<std::int32_t> got(rows * 37), wanted(rows * 37);
  multiply_tiles(tiled.data(), layout, w, {0, 37}, [&](const TileSums& t) {
    for (std::size_t r = 0; r < t.rows; ++r) {
      std::copy_n(static_cast<const std::int32_t*>(t.sums) + r * t.stride, t.columns.width(),
                  got.data() + (t.first + r) * 37 + t.columns.begin);
    }
  });
  reference::matmul_int8(q.data(), extreme.data(), rows, 37, in, wanted.data());
  EXPECT_EQ(got, wanted);
}

/// What a layer of this precision should give: the products of its own rounded weights.
struct LinearCase {
  std::size_t rows, in, out;
  std::vector<float> x, w, bias, residual;
};

LinearCase make_case(std::size_t rows, std::size_t in, std::size_t out) {
  return {rows,
          in,
          out,
          random_values(rows * in, rows),
          random_values(out * in, in),
          random_values(out, 3),
          random_values(rows * out, 4)};
}

std::vector<float> reference_linear(const LinearCase& c, const WeightMatrix& w) {
  auto x = c.x;
  for (std::size_t i = 0; i < x.size() && !w.smoothing.empty(); ++i)
    x[i] *= w.smoothing.data()[i % c.in];
  std::vector<float> y(c.rows * c.out);
  reference::linear(x.data(), reference::widened(w).data(), c.rows, c.out, c.in, y.data());
  for (std::size_t i = 0; i < y.size(); ++i) {
    y[i] = reference::gelu(y[i] + c.bias[i % c.out]) + c.residual[i];
  }
  return y;
}

/// The same for a text's rows, which some CPUs round like weights of bf16.
std::vector<float> reference_of_few_rows(LinearCase c, const WeightMatrix& w) {
  if (w.precision == Precision::bf16 && rounds_few_rows()) {
    std::vector<std::uint16_t> rounded(c.x.size());
    round_to_bf16(c.x.data(), c.x.size(), rounded.data());
    widen_bf16(rounded.data(), c.x.size(), c.x.data());
  }
  return reference_linear(c, w);
}

double relative_error(const std::vector<float>& got, const std::vector<float>& wanted) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    difference += std::pow(double{got[i]} - double{wanted[i]}, 2);
    size += std::pow(double{wanted[i]}, 2);
  }
  return std::sqrt(difference / size);
}

TEST_P(PrecisionOnEveryIsa, LinearLayersOfEachPrecision) {
  for (const std::size_t out : {std::size_t{37}, std::size_t{256} * 4 + 3}) {
    for (const std::size_t rows : {1, 2, 3, 4, 6, 50}) {
      const LinearCase c = make_case(rows, 75, out);
      const auto exact = reference_linear(c, to_matrix(view(c.w, out)));
      auto smoothing = random_values(75, 9);
      for (float& v : smoothing) v = std::fabs(v) + 0.5f;
      for (const WeightMatrix& w : {to_bf16(view(c.w, out)), to_int8(view(c.w, out), {}),
                                    to_int8(view(c.w, out), view(smoothing))}) {
        const Linear linear(w, view(c.bias));
        const auto wanted = reference_linear(c, w);
        EXPECT_LT(relative_error(wanted, exact), 0.01);
        std::vector<float> few(wanted.size()), many(wanted.size());
        linear.forward(c.x.data(), rows, few.data(), Epilogue::Activation::gelu, c.residual.data());
        EXPECT_LT(relative_error(few, reference_of_few_rows(c, w)),
                  w.precision == Precision::int8 ? 2e-4 : 1e-5)
            << name(w.precision);
        linear.forward_many(c.x.data(), rows, many.data(), Epilogue::Activation::gelu,
                            c.residual.data());
        EXPECT_LT(relative_error(many, wanted), w.precision == Precision::int8 ? 0.02 : 5e-3)
            << name(w.precision);
      }
    }
  }
}

// 192 values are whole rows of tiles in both precisions; rows and columns leave tails of 16 and 32.
TEST_P(PrecisionOnEveryIsa, LinearLayersOfAPicturesSize) {
  for (const std::size_t rows : {1, 16, 33, 577}) {
    for (const std::size_t out : {16, 50, 288, 1030}) {
      const LinearCase c = make_case(rows, 192, out);
      auto smoothing = random_values(192, 9);
      for (float& v : smoothing) v = std::fabs(v) + 0.5f;
      for (const WeightMatrix& w :
           {to_matrix(view(c.w, out)), to_bf16(view(c.w, out)), to_int8(view(c.w, out), {}),
            to_int8(view(c.w, out), view(smoothing))}) {
        const auto wanted = reference_linear(c, w);
        std::vector<float> got(wanted.size());
        Linear(w, view(c.bias))
            .forward_many(c.x.data(), rows, got.data(), Epilogue::Activation::gelu,
                          c.residual.data());
        const double allowed[] = {1e-5, 5e-3, 0.02};
        EXPECT_LT(relative_error(got, wanted), allowed[static_cast<int>(w.precision)])
            << name(w.precision) << ", " << rows << " rows, " << out << " columns";
      }
    }
  }
}

// In f32 some tiles take long rows in parts, the last of which is shorter.
TEST_P(PrecisionOnEveryIsa, LinearLayersOfShortAndLongRows) {
  for (const std::size_t in : {48, 80, 1056}) {  // pieces of f32, but of bf16 only if widened
    const LinearCase c = make_case(33, in, 306);
    for (const auto convert : {to_matrix, to_bf16}) {
      const WeightMatrix w = convert(view(c.w, 306));
      const auto wanted = reference_linear(c, w);
      std::vector<float> got(wanted.size());
      Linear(w, view(c.bias))
          .forward_many(c.x.data(), 33, got.data(), Epilogue::Activation::gelu, c.residual.data());
      EXPECT_LT(relative_error(got, wanted), w.precision == Precision::f32 ? 1e-5 : 5e-3) << in;
    }
  }
}

TEST_P(PrecisionOnEveryIsa, PanelsGiveTheBitsOfRows) {
  for (const auto& [in, out] : {std::pair<std::size_t, std::size_t>{192, 96}, {1088, 320}}) {
    const LinearCase c = make_case(70, in, out);
    for (const WeightMatrix& w :
         {to_matrix(view(c.w, out)), to_bf16(view(c.w, out)), to_int8(view(c.w, out), {})}) {
      const WeightMatrix panels = in_panels(w);
      ASSERT_TRUE(panels.panels);
      const WeightMatrix back = row_major(panels);
      EXPECT_EQ(std::memcmp(back.data, w.data, w.bytes() - w.scales.size() * sizeof(float)), 0);
      std::vector<float> row(in), same(in);
      panels.copy_row(out - 7, row.data());
      w.copy_row(out - 7, same.data());
      EXPECT_EQ(row, same);
      std::vector<float> wanted(70 * out), got(wanted.size());
      Linear(w, view(c.bias)).forward_many(c.x.data(), 70, wanted.data());
      Linear(panels, view(c.bias)).forward_many(c.x.data(), 70, got.data());
      EXPECT_EQ(got, wanted) << name(w.precision) << ", rows of " << in;
      EXPECT_THROW(Linear(panels, view(c.bias)).forward(c.x.data(), 70, got.data()), Error);
    }
  }
  const LinearCase c = make_case(1, 192, 50);
  EXPECT_FALSE(in_panels(to_matrix(view(c.w, 50))).panels) << "they would not be filled";
}

TEST_P(PrecisionOnEveryIsa, TwoLayersTogetherGiveWhatTheyGiveOneByOne) {
  for (const std::size_t rows : {1, 33, 577}) {
    for (const std::size_t width : {96, 100, 1056}) {  // 100: no whole pieces
      const LinearCase first = make_case(rows, 64, width), second = make_case(rows, width, 50);
      for (const auto convert : {to_matrix, to_bf16}) {
        const Linear a(convert(view(first.w, width)), view(first.bias));
        const Linear b(convert(view(second.w, 50)), view(second.bias));
        std::vector<float> normal(rows * 64), between(rows * width), together(rows * width);
        std::vector<float> wanted(rows * 50), got(rows * 50);
        const auto gamma = random_values(64, 7), beta = random_values(64, 8);
        const LayerNormParameters norm{gamma.data(), beta.data(), 64, 1e-5f};
        layer_norm(norm, first.x.data(), rows, normal.data());
        a.forward_many(normal.data(), rows, between.data(), Epilogue::Activation::gelu);
        a.forward_many(first.x.data(), rows, together.data(), Epilogue::Activation::gelu, nullptr,
                       &norm);
        EXPECT_EQ(together, between);
        b.forward_many(between.data(), rows, wanted.data(), Epilogue::Activation::none,
                       second.residual.data());
        FloatBuffer scratch;
        Linear::forward_mlp(a, b, norm, first.x.data(), rows, got.data(), second.residual.data(),
                            scratch);
        EXPECT_EQ(got, wanted) << rows << " rows, " << width << " between";
      }
    }
  }
}

TEST_P(PrecisionOnEveryIsa, TwoInt8LayersTogetherGiveNearlyWhatTheyGiveOneByOne) {
  for (const std::size_t rows : {1, 33, 577}) {
    for (const std::size_t width : {128, 100, 1088}) {  // 100: no whole pieces
      const LinearCase first = make_case(rows, 64, width), second = make_case(rows, width, 50);
      const Linear a(to_int8(view(first.w, width), {}), view(first.bias));
      const Linear b(to_int8(view(second.w, 50), {}), view(second.bias));
      std::vector<float> between(rows * width), wanted(rows * 50), got(rows * 50);
      const auto gamma = random_values(64, 7), beta = random_values(64, 8);
      const LayerNormParameters norm{gamma.data(), beta.data(), 64, 1e-5f};
      a.forward_many(first.x.data(), rows, between.data(), Epilogue::Activation::gelu, nullptr,
                     &norm);
      b.forward_many(between.data(), rows, wanted.data(), Epilogue::Activation::none,
                     second.residual.data());
      FloatBuffer scratch;
      Linear::forward_mlp(a, b, norm, first.x.data(), rows, got.data(), second.residual.data(),
                          scratch);
      EXPECT_LT(relative_error(got, wanted), 5e-3) << rows << " rows, " << width << " between";
    }
  }
}

TEST_P(PrecisionOnEveryIsa, LayersRoundedToBf16) {
  if (!tiles_multiply(Precision::bf16))
    GTEST_SKIP() << "this CPU, or what it is held to, multiplies no bf16";
  for (const std::size_t in : {128, 100}) {  // 100: no whole pieces
    for (const std::size_t out : {16, 50, 1030}) {
      const LinearCase c = make_case(33, in, out);
      for (const WeightMatrix& w : {to_bf16(view(c.w, out)), to_int8(view(c.w, out), {})}) {
        const Linear linear(w, view(c.bias));
        std::vector<float> wanted(33 * out), got(wanted.size());
        linear.forward_many(c.x.data(), 33, wanted.data(), Epilogue::Activation::gelu);
        std::vector<std::uint16_t> rounded(wanted.size()), bits(wanted.size());
        linear.forward_many_bf16(c.x.data(), 33, bits.data(), Epilogue::Activation::gelu, nullptr);
        round_to_bf16(wanted.data(), wanted.size(), rounded.data());
        EXPECT_EQ(bits, rounded) << name(w.precision) << ", " << in << " to " << out;
      }
    }
  }
}

TEST_P(PrecisionOnEveryIsa, RowsDoNotDependOnTheirNeighbours) {
  const LinearCase c = make_case(9, 131, 77);
  for (const WeightMatrix& w : {to_bf16(view(c.w, 77)), to_int8(view(c.w, 77), {})}) {
    std::vector<float> together(9 * 77), alone(77);
    matmul_few_rows(c.x.data(), w, 9, together.data());
    for (std::size_t r = 0; r < 9; ++r) {
      matmul_few_rows(c.x.data() + r * 131, w, 1, alone.data());
      for (std::size_t n = 0; n < 77; ++n) ASSERT_EQ(alone[n], together[r * 77 + n]);
    }
  }
}

TEST_P(PrecisionOnEveryIsa, HoweverManyThreadsShareALayer) {
  constexpr std::size_t kIn = 256, kOut = 416;
  for (const std::size_t rows : {70, 577}) {
    const LinearCase c = make_case(rows, kIn, kOut), back = make_case(rows, kOut, kIn);
    const auto gamma = random_values(kIn, 7), beta = random_values(kIn, 8);
    const LayerNormParameters norm{gamma.data(), beta.data(), kIn, 1e-5f};
    const auto to_8_bits = [](const Weight& w) { return to_int8(w, {}); };
    const auto layers = [&](Precision precision) {
      const auto convert = [&](const std::vector<float>& w, std::size_t out) {
        if (precision == Precision::int8) return to_8_bits(view(w, out));
        return precision == Precision::bf16 ? to_bf16(view(w, out)) : to_matrix(view(w, out));
      };
      return std::pair(Linear(convert(c.w, kOut), view(c.bias)),
                       Linear(convert(back.w, kIn), view(back.bias)));
    };
    for (const Precision precision : {Precision::f32, Precision::bf16, Precision::int8}) {
      const auto [first, second] = layers(precision);
      std::vector<float> one(rows * kOut), mlp(rows * kIn);
      for (const int count : {1, 2, 3, 7, 16}) {
        const ThreadScope threads({.num_threads = count});
        std::vector<float> got(one.size()), got_mlp(mlp.size());
        FloatBuffer scratch;
        first.forward_many(c.x.data(), rows, got.data(), Epilogue::Activation::gelu,
                           c.residual.data(), &norm);
        Linear::forward_mlp(first, second, norm, c.x.data(), rows, got_mlp.data(), c.x.data(),
                            scratch);
        if (count == 1) {
          one = got;
          mlp = got_mlp;
        }
        if (fits_tiles(first.weight()) && fits_tiles(second.weight())) {
          EXPECT_EQ(got, one) << name(precision) << ", " << rows << " rows, " << count;
          EXPECT_EQ(got_mlp, mlp) << name(precision) << ", " << rows << " rows, " << count;
        } else {
          EXPECT_LT(relative_error(got, one), 1e-6) << name(precision) << ", " << count;
          EXPECT_LT(relative_error(got_mlp, mlp), 1e-5) << name(precision) << ", " << count;
        }
      }
    }
  }
}

TEST(WeightMatrix, LooksUpRowsInEveryPrecision) {
  const auto w = random_values(5 * 19, 1);
  for (const WeightMatrix& m :
       {to_matrix(view(w, 5)), to_bf16(view(w, 5)), to_int8(view(w, 5), {})}) {
    std::vector<float> row(19);
    m.copy_row(3, row.data());
    for (std::size_t k = 0; k < 19; ++k) EXPECT_NEAR(row[k], w[3 * 19 + k], 0.005);
  }
}

TEST(WeightMatrix, RefusesInt8ParametersThatCannotBe) {
  const std::vector<std::int8_t> values(6, 1);
  const StoredTensor stored{DType::i8, {2, 3}, std::as_bytes(std::span(values)), nullptr};
  const std::vector<float> scales = {0.5f, 1}, sums = {3, 3}, smoothing = {1, 1, 2};
  const std::vector<float> zero = {0, 1}, huge = {3, 1000}, nan = {std::nanf(""), 1}, one = {1};
  const WeightMatrix m = int8_matrix(stored, {view(scales), view(sums), view(smoothing)});
  EXPECT_EQ(m.out, 2u);
  EXPECT_THROW(int8_matrix(stored, {view(zero), view(sums), {}}), Error);
  EXPECT_THROW(int8_matrix(stored, {view(nan), view(sums), {}}), Error);
  EXPECT_THROW(int8_matrix(stored, {view(one), view(sums), {}}), Error);
  EXPECT_THROW(int8_matrix(stored, {view(scales), view(huge), {}}), Error);
  EXPECT_THROW(int8_matrix(stored, {view(scales), view(nan), {}}), Error);
  EXPECT_THROW(int8_matrix(stored, {view(scales), view(sums), view(scales)}), Error);
}

// On the definitions a product takes tens of times as long.
TEST(MeasuredOperations, DoNotFollowTheKernels) {
  constexpr Context kOne{1};
  for (const Precision precision : kPrecisions) {
    force_isa(Isa::reference);
    const double beside_slow_ones = measured_operations(precision, kOne);
    force_isa(supported_isas().back());
    EXPECT_GT(beside_slow_ones, measured_operations(Precision::f32, kOne) / 4) << name(precision);
  }
}

TEST(Precision, Names) {
  for (const Precision p : {Precision::f32, Precision::bf16, Precision::int8}) {
    EXPECT_EQ(find_precision(name(p)), p);
  }
  EXPECT_FALSE(find_precision("int4"));
}

}  // namespace
}  // namespace blip
