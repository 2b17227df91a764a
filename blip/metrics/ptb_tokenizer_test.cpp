#include "blip/metrics/ptb_tokenizer.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/metrics/words.h"

namespace blip {
namespace {

std::vector<std::string> lines_of(const std::string& name) {
  std::ifstream in(std::string(BLIP_TEST_DATA) + "/metrics/" + name);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string tokenized(const std::string& caption) {
  static const PtbTokenizer kTokenizer;
  return kTokenizer.tokenize(std::vector{caption}).front();
}

TEST(PtbTokenizer, EqualsTheReference) {
  const std::vector<std::string> input = lines_of("tokenizer_input.txt");
  const std::vector<std::string> expected = lines_of("tokenizer_expected.txt");
  ASSERT_GT(input.size(), 3000U);
  ASSERT_EQ(input.size(), expected.size());
  const std::vector<std::string> found = PtbTokenizer().tokenize(input);
  for (std::size_t i = 0; i < input.size(); ++i) EXPECT_EQ(found[i], expected[i]) << input[i];
}

TEST(PtbTokenizer, SplitsClitics) {
  EXPECT_EQ(tokenized("A man's dog can't."), "a man 's dog ca n't");
  EXPECT_EQ(tokenized("gonna cannot 'twas"), "gon na can not 't was");
}

TEST(PtbTokenizer, BracketsStay) {
  EXPECT_EQ(tokenized("a dog (black)"), "a dog -lrb- black -rrb-");
}

TEST(PtbTokenizer, TheNextCaptionDecidesAfterAnAbbreviation) {
  const PtbTokenizer tokenizer;
  EXPECT_EQ(tokenizer.tokenize(std::vector<std::string>{"at Acme Co.", ".5 cups"}),
            (std::vector<std::string>{"at acme co.", ".5 cups"}));
  EXPECT_EQ(tokenizer.tokenize(std::vector<std::string>{"he met Dr.", "", "Who"}),
            (std::vector<std::string>{"he met dr.", "", "who"}));
}

TEST(PtbTokenizer, NothingAndLineBreaks) {
  EXPECT_TRUE(PtbTokenizer().tokenize({}).empty());
  EXPECT_EQ(tokenized(""), "");
  EXPECT_EQ(tokenized("...!"), "");
  EXPECT_EQ(tokenized("two\nlines\r\nor\vthree\n"), "two lines or three");
  EXPECT_EQ(PtbTokenizer().tokenize(std::vector<std::string>(3)), std::vector<std::string>(3));
}

TEST(PtbTokenizer, AnOpenTagDoesNotSwallowTheNextCaption) {
  const PtbTokenizer tokenizer;
  EXPECT_EQ(tokenizer.tokenize(std::vector<std::string>{"<a b='", "c'>"}).size(), 2U);
  EXPECT_EQ(tokenizer.tokenize(std::vector<std::string>{"<a b='", "c'>"})[1], "c >");
}

TEST(PtbTokenizer, HostileBytes) {
  EXPECT_EQ(tokenized("a\xFF\xC3\xE2\x82 b\xED\xA0\x80"), "a b");
  EXPECT_EQ(tokenized(std::string("a\0b", 3)), "a b");
  EXPECT_EQ(tokenized("a\xF0\x9F\x99\x82z"), "a z");
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_NO_THROW(tokenized(std::string(3, static_cast<char>(byte)) + " <a b='"));
  }
}

TEST(PtbTokenizer, LongCaptions) {
  const std::string longest(PtbTokenizer::kMaxCaptionBytes, 'a');
  EXPECT_EQ(tokenized(longest), longest);
  EXPECT_THROW(tokenized(longest + 'a'), Error);
  std::string tags;
  while (tags.size() + 8 < PtbTokenizer::kMaxCaptionBytes) tags += "<a b=\"";
  EXPECT_FALSE(tokenized(tags).empty());
  std::string marks;
  while (marks.size() + 8 < PtbTokenizer::kMaxCaptionBytes) marks += "a,";
  EXPECT_FALSE(tokenized(marks).empty());
}

TEST(Words, SplitAsPythonDoes) {
  using Words = std::vector<std::string_view>;
  EXPECT_EQ(split_words(" a\u00A0b\u3000c\t\nd\u2009"), (Words{"a", "b", "c", "d"}));
  EXPECT_EQ(split_words(""), Words{});
  EXPECT_EQ(split_words("\u200Bx"), Words{"\u200Bx"});
  EXPECT_EQ(strip_end("a b \u00A0"), "a b");
  EXPECT_EQ(strip_end(" \n"), "");
  EXPECT_EQ(split_words("\xE2\x80"), Words{"\xE2\x80"});
}

}  // namespace
}  // namespace blip
