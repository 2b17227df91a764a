#include "blip/tasks/localization.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/tasks/tiny_engines_test.h"

namespace blip {
namespace {

const Localizer& matching() {
  static const Localizer made(tiny_engine("C_hf/retrieval"));
  return made;
}

const std::string kText = "a woman and a cup of coffee";

float sum(const HeatMap& map) {
  return std::accumulate(map.values.begin(), map.values.end(), 0.0f);
}

TEST(Localizer, WholeTextIsTheMeanOfItsWords) {
  const EncodedImage image = encoded(matching().engine(), 5);
  const std::vector<std::string> words = {"woman", "a", "and", "cup of", "coffee"};
  for (const bool gradient : {false, true}) {
    const LocalizationOptions options{.gradient = gradient};
    const HeatMap all = matching().locate(image, kText, {}, options)[0];
    EXPECT_EQ(all.values.size(), static_cast<std::size_t>(all.rows * all.columns));
    EXPECT_EQ(all.rows * all.columns + 1, image.num_tokens());
    const std::vector<HeatMap> maps = matching().locate(image, kText, words, options);
    for (std::size_t i = 0; i < all.values.size(); ++i) {
      const float mean = (maps[0].values[i] + 2 * maps[1].values[i] + maps[2].values[i] +
                          2 * maps[3].values[i] + maps[4].values[i]) /
                         7;
      EXPECT_NEAR(mean, all.values[i], 1e-6f);
      EXPECT_GE(all.values[i], 0.0f);
    }
    EXPECT_NE(maps[0].values, maps[4].values);
    if (gradient) continue;
    EXPECT_LT(sum(all), 1.0f) << "the class token's share is left out";
  }
}

TEST(Localizer, LayersAreAveraged) {
  const EncodedImage image = encoded(matching().engine(), 5);
  const auto map = [&](std::vector<int> layers) {
    return matching().locate(image, kText, {}, {.gradient = true, .layers = layers})[0].values;
  };
  const std::vector<float> first = map({0}), last = map({2}), both = map({2, 0});
  for (std::size_t i = 0; i < both.size(); ++i)
    EXPECT_NEAR(both[i], (first[i] + last[i]) / 2, 1e-6f);
  EXPECT_THROW(map({3}), Error);
  EXPECT_THROW(map({-1}), Error);
}

TEST(Localizer, CaptionersShowWhereTheyLookWhenTheyWrite) {
  const Localizer captioner(tiny_engine("C_hf/caption"));
  const EncodedImage image = encoded(captioner.engine(), 5);
  const std::string crabs = "crabs";
  const HeatMap map = captioner.locate(image, "two blue crabs", {&crabs, 1})[0];
  EXPECT_GT(sum(map), 0.0f);
  const HeatMap longer = captioner.locate(image, "two blue crabs and a lemon", {&crabs, 1})[0];
  EXPECT_EQ(map.values, longer.values) << "what comes after a word cannot matter to it";
  EXPECT_THROW(captioner.locate(image, "a crab", {}, {.gradient = true}), Error);
}

TEST(Localizer, RefusesWhatIsNotThere) {
  const EncodedImage image = encoded(matching().engine(), 5);
  for (const std::string word : {"dog", "cof", ""})
    EXPECT_THROW(matching().locate(image, kText, {&word, 1}), Error) << word;
  EXPECT_THROW(matching().locate(image, " ", {}), Error);
  std::string words = kText;
  for (int i = 0; i < 100; ++i) words += " and";
  EXPECT_TRUE(matching().locate(image, words, {})[0].truncated);
  EXPECT_THROW(Localizer(tiny_engine("E_original/nlvr/model_nlvr.pth", 4)), Error);
}

TEST(Overlay, IsHotWhereTheMapIs) {
  Image grey{40, 40, std::vector<std::uint8_t>(4800, 128)};
  HeatMap map{2, 2, {0, 0, 0, 1}};
  const Image out = overlay(grey, map);
  ASSERT_EQ(out.rgb.size(), grey.rgb.size());
  const auto pixel = [&](int x, int y) {
    return &out.rgb[static_cast<std::size_t>(3 * (40 * y + x))];
  };
  EXPECT_GT(pixel(38, 38)[0], pixel(38, 38)[2]) << "red";
  EXPECT_GT(pixel(1, 1)[2], pixel(1, 1)[0]) << "blue";
  map.values = {1, 1, 1, 1};
  EXPECT_EQ(overlay(grey, map).rgb.size(), grey.rgb.size()) << "flat";
  map.values.pop_back();
  EXPECT_THROW(overlay(grey, map), Error);
}

}  // namespace
}  // namespace blip
