#include "blip/model/attention_maps.h"

#include <gtest/gtest.h>

#include <cmath>

#include "blip/checkpoint/checkpoint.h"
#include "blip/model/blip.h"

namespace blip {
namespace {

const BlipModel& retrieval_model() {
  static const Checkpoint checkpoint =
      open_checkpoint(BLIP_SOURCE_DIR "/tests/golden/data/C_hf/retrieval");
  static const BlipModel built(checkpoint.config, checkpoint.tensors);
  return built;
}

const std::vector<int> kText = {30523, 1037, 2450, 1998, 1037, 2452, 102};

Tensor states() {
  const VisionConfig& vision = retrieval_model().config().vision;
  Tensor states({10, vision.hidden_size});
  for (std::size_t i = 0; i < states.size(); ++i)
    states.data()[i] = std::sin(static_cast<float>(i) * 0.7f);
  return states;
}

CrossKeysValues picture() {
  return retrieval_model().text_encoder().attend_to(states().span(), 10, {});
}

double match_logit(const CrossKeysValues& image) {
  const EncoderText text{kText, &image};
  const Tensor hidden = retrieval_model().text_encoder().forward({&text, 1}, {});
  return double{retrieval_model().itm_logits(hidden.span())[1]};
}

std::vector<AttentionMap> maps_from(std::size_t first_layer) {
  const std::vector<float> weights = retrieval_model().itm_match_weights();
  return attention_maps(retrieval_model().text_encoder().med(), picture(),
                        {kText, false, first_layer, weights}, {});
}

TEST(AttentionMaps, ProbabilitiesOfEachTokenSumToOne) {
  const std::vector<AttentionMap> maps = maps_from(0);
  const std::size_t layers = retrieval_model().text_encoder().med().num_layers();
  ASSERT_EQ(maps.size(), layers);
  for (const AttentionMap& map : maps) {
    ASSERT_EQ(map.probabilities.dim(1), static_cast<std::int64_t>(kText.size()));
    ASSERT_EQ(map.probabilities.dim(2), 10);
    for (std::size_t i = 0; i < map.probabilities.size(); i += 10) {
      double sum = 0;
      for (std::size_t t = 0; t < 10; ++t) sum += double{map.probabilities.data()[i + t]};
      EXPECT_NEAR(sum, 1, 1e-6);
    }
  }
  EXPECT_EQ(maps_from(layers - 1).size(), 1u);
}

// Scaling one head's value of a picture's token by 1 + e changes each context by e * p * value, as
// if its probability were scaled: d logit / d e is the sum over the text of probability * gradient.
// The left side comes from the engine itself.
TEST(AttentionMaps, GradientsAreThoseOfTheLogit) {
  const std::vector<AttentionMap> maps = maps_from(0);
  const AttentionShape& shape = retrieval_model().text_encoder().med().attention();
  for (std::size_t layer = 0; layer < maps.size(); ++layer) {
    for (std::size_t head = 0; head < shape.heads; ++head) {
      for (std::size_t token = 0; token < 10; token += 3) {
        const auto logit_with = [&](float factor) {
          CrossKeysValues changed = picture();
          float* value = changed.values[layer].f32() + (head * 10 + token) * shape.head_size;
          for (std::size_t i = 0; i < shape.head_size; ++i) value[i] *= factor;
          return match_logit(changed);
        };
        const double numeric = (logit_with(1.05f) - logit_with(0.95f)) / 0.1;
        double analytic = 0;
        for (std::size_t r = 0; r < kText.size(); ++r) {
          const std::size_t at = (head * kText.size() + r) * 10 + token;
          analytic += double{maps[layer].probabilities.data()[at]} *
                      double{maps[layer].gradient.data()[at]};
        }
        EXPECT_NEAR(analytic, numeric, 2e-4 + 0.01 * std::fabs(numeric))
            << "layer " << layer << ", head " << head << ", token " << token;
      }
    }
  }
}

TEST(AttentionMaps, CausalTextSeesNothingOfItsFuture) {
  const Med& med = retrieval_model().text_encoder().med();
  std::vector<int> longer = kText;
  longer.push_back(1037);
  const auto one = attention_maps(med, picture(), {kText, true, 0, {}}, {});
  const auto two = attention_maps(med, picture(), {longer, true, 0, {}}, {});
  EXPECT_EQ(one.front().gradient.size(), 0u);
  const std::size_t heads = med.attention().heads, rows = kText.size();
  for (std::size_t head = 0; head < heads; ++head) {
    for (std::size_t i = 0; i < rows * 10; ++i) {
      EXPECT_EQ(one.back().probabilities.data()[head * rows * 10 + i],
                two.back().probabilities.data()[head * (rows + 1) * 10 + i]);
    }
  }
}

}  // namespace
}  // namespace blip
