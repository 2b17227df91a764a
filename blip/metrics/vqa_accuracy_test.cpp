#include "blip/metrics/vqa_accuracy.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "blip/base/error.h"

namespace blip {
namespace {

/// `count` people who say `answer`, the rest of ten who say "other".
std::vector<std::string> people(std::size_t count, const std::string& answer) {
  std::vector<std::string> all(10, "other");
  std::fill_n(all.begin(), count, answer);
  return all;
}

TEST(VqaAccuracy, TheOfficialRule) {
  // k of ten agree: ((10 - k) min(1, k/3) + k min(1, (k - 1)/3)) / 10.
  const double expected[] = {0, 0.3, 0.6, 0.9, 1, 1, 1, 1, 1, 1, 1};
  for (std::size_t count = 0; count <= 10; ++count) {
    EXPECT_NEAR(vqa_accuracy("red", people(count, "red")), expected[count], 1e-12) << count;
  }
}

TEST(VqaAccuracy, NormalisesBothSides) {
  EXPECT_NEAR(vqa_accuracy("A Red!", people(4, "the red.")), 1, 1e-12);
  EXPECT_NEAR(vqa_accuracy("two", people(2, "2")), 0.6, 1e-12);
}

TEST(VqaAccuracy, WhereAllAgreeNothingIsNormalised) {
  EXPECT_EQ(vqa_accuracy("Yes", people(10, "yes")), 0);
  EXPECT_EQ(vqa_accuracy(" yes\n", people(10, "yes ")), 1);
}

TEST(VqaAccuracy, OneAnswer) {
  EXPECT_EQ(vqa_accuracy("The two", std::vector<std::string>{"2"}), 1);
  EXPECT_EQ(vqa_accuracy("3", std::vector<std::string>{"2"}), 0);
  EXPECT_THROW(vqa_accuracy("3", {}), Error);
}

TEST(NormalizeAnswer, ArticlesNumbersContractions) {
  EXPECT_EQ(normalize_answer("The  Cat and a DOG"), "cat and dog");
  EXPECT_EQ(normalize_answer("none zero one ten eleven"), "0 0 1 10 eleven");
  EXPECT_EQ(normalize_answer("dont Cant its yall'd've oclock twas"),
            "don't can't its y'all'd've o'clock 'twas");
  EXPECT_EQ(normalize_answer("somebody'd"), "somebodyd");
  EXPECT_EQ(normalize_answer("don't"), "don't");
  EXPECT_EQ(normalize_answer("a"), "");
  EXPECT_EQ(normalize_answer(""), "");
}

TEST(NormalizeAnswer, Punctuation) {
  EXPECT_EQ(normalize_answer("black/white"), "black white");
  EXPECT_EQ(normalize_answer("black / white"), "black white");
  EXPECT_EQ(normalize_answer("black/ white-ish"), "black white ish");
  EXPECT_EQ(normalize_answer("what?"), "what");
  EXPECT_EQ(normalize_answer("1,000"), "1000");
  EXPECT_EQ(normalize_answer("1,000 t-shirts"), "1000 tshirts");
  EXPECT_EQ(normalize_answer("red, white,blue"), "red whiteblue");
  EXPECT_EQ(normalize_answer("3.5 p.m. St. x."), "3.5 pm st x");
  EXPECT_EQ(normalize_answer(".5 $5 it's #1"), ".5 $5 it's #1");
  EXPECT_EQ(normalize_answer("CAFÉ\u00A0Ø"), "café ø");
}

TEST(NormalizeAnswer, HostileInput) {
  EXPECT_EQ(normalize_answer(std::string(200000, ';')), "");
  EXPECT_NO_THROW(normalize_answer("\xFF\xFE\x80"));
}

}  // namespace
}  // namespace blip
