#include "blip/tasks/comparison.h"

#include <gtest/gtest.h>

#include "blip/image/decode.h"
#include "blip/tasks/default_model_test.h"

namespace blip {
namespace {

/// Between f32 and bf16, of a picture that comes with the program.
PictureComparison compared(const std::string& prompt, const CaptionOptions& options) {
  static const Engine candidate = Engine::load(kModel, {.precision = Precision::bf16});
  return EngineComparison(captioner().engine(), candidate, prompt, options)
      .compare(load_image(kModel / "samples/test_pair-00065.png"));
}

TEST(EngineComparison, OnlyTokensThatAreWrittenCount) {
  CaptionOptions one = with(1);
  one.generation.max_new_tokens = 1;
  const PictureComparison plain = compared("", one), prompted = compared("two blue crabs", one);
  EXPECT_GT(plain.divergence, 0);
  EXPECT_GT(prompted.divergence, 0);
  EXPECT_EQ(plain.divergence, plain.largest_divergence);
  EXPECT_EQ(prompted.divergence, prompted.largest_divergence);
}

TEST(EngineComparison, ACaptionMayFillThePositions) {
  CaptionOptions longest = with(1);
  longest.generation.max_new_tokens = static_cast<int>(captioner().most_tokens()) - 1;  // [DEC]
  longest.generation.min_new_tokens = longest.generation.max_new_tokens;
  EXPECT_GT(compared("", longest).divergence, 0);
}

}  // namespace
}  // namespace blip
