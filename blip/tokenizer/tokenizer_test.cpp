#include "blip/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/tokenizer/basic_tokenizer.h"
#include "blip/tokenizer/unicode.h"

namespace blip {
namespace {

using Ids = std::vector<int>;
using Words = std::vector<std::string>;

constexpr std::string_view kVocab =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ndog\n##s\nrun\n##ning\n.\n,\n!\n?\n'\nn\nt\ndo\nnot\n";
//   0      1      2      3      4      5  6   7   8    9      10 11 12 13 14 15 16 17  18

Words words(std::string_view text) {
  Words result;
  split_words(text, [&](std::string_view word) { result.emplace_back(word); });
  return result;
}

ErrorCode code_of(const auto& action) {
  try {
    action();
  } catch (const Error& e) {
    return e.code();
  }
  return ErrorCode::internal;
}

TEST(SplitWords, CutsAtSpacesAndAroundPunctuation) {
  EXPECT_EQ(words(" A\tb\r\nc\u00A0d\u2003e\u2028f "), (Words{"a", "b", "c", "d", "e", "f"}));
  EXPECT_EQ(words("x-y_z$1+`\u2014\u00BF!"),
            (Words{"x", "-", "y", "_", "z", "$", "1", "+", "`", "\u2014", "\u00BF", "!"}));
  EXPECT_EQ(words("\u20AC5\u00B0"), (Words{"\u20AC5\u00B0"})) << "symbols outside ASCII stay";
  EXPECT_TRUE(words("").empty());
  EXPECT_TRUE(words(" \n").empty());
}

TEST(SplitWords, DropsControlFormatAndPrivateCharacters) {
  using namespace std::string_view_literals;
  constexpr std::string_view kText =
      "a\0b\x01\x7F\u0085\u00AD\u200B\uFEFF\uFFFD\uE000\U000F0000c"sv;
  EXPECT_EQ(words(kText), (Words{"abc"}));
  EXPECT_EQ(words("a\vb\fc"), (Words{"abc"})) << "only tab, line feed and return are spaces";
  EXPECT_EQ(words("a\uFFFFb"), (Words{"a\uFFFFb"})) << "a non-character stays";
}

TEST(SplitWords, StripsAccentsAndLowersEachCharacter) {
  EXPECT_EQ(words("Caf\u00C9 e\u0301 \u1E9B\u0323"), (Words{"cafe", "e", "\u017F"}));
  EXPECT_EQ(words("\u0130\u0131"), (Words{"i\u0131"}));
  EXPECT_EQ(words("\u039F\u03A3"), (Words{"\u03BF\u03C3"})) << "no final sigma";
  EXPECT_EQ(words("\u1E9E\u01C5"), (Words{"\u00DF\u01C6"}));
  EXPECT_EQ(words("\uAC01"), (Words{"\u1100\u1161\u11A8"})) << "Hangul is decomposed";
  EXPECT_EQ(words("\u212B\u037E"), (Words{"a", ";"})) << "punctuation after decomposition";
}

TEST(SplitWords, OrdersTheMarksThatStay) {
  EXPECT_EQ(words("a\u302E\u0301\u1B44"), (Words{"a\u1B44\u302E"}));
  EXPECT_EQ(words("a\u302E\u034F\u1B44"), (Words{"a\u302E\u1B44"})) << "U+034F ends the run";
}

TEST(SplitWords, SetsIdeographsApart) {
  EXPECT_EQ(words("a\u4E2D\u56FDb"), (Words{"a", "\u4E2D", "\u56FD", "b"}));
  EXPECT_EQ(words("\uF900\U0002F800"), (Words{"\u8C48", "\u4E3D"}));
  EXPECT_EQ(words("\u3042\u30A2"), (Words{"\u3042\u30A2"})) << "kana stay together";
  EXPECT_EQ(words("\U0002B820\U0002B820"), (Words{"\U0002B820\U0002B820"}));
}

TEST(SplitWords, KnowsCategoriesAsOfUnicode8) {
  EXPECT_EQ(words("a\u08D3"), (Words{"a\u08D3"})) << "a mark since 11.0";
  EXPECT_EQ(words("a\u2E4Fb"), (Words{"a\u2E4Fb"})) << "punctuation since 12.0";
  EXPECT_EQ(words("a\u08E2b"), (Words{"a\u08E2b"})) << "a format character since 9.0";
  EXPECT_EQ(words("\U00011938"), (Words{"\U00011938"})) << "decomposes since 13.0";
  EXPECT_EQ(words("a\u1734b"), (Words{"ab"})) << "a spacing mark since 14.0";
  EXPECT_EQ(words("a\u166Db"), (Words{"a", "\u166D", "b"})) << "a symbol since 12.0";
  EXPECT_EQ(words("a\u08E3"), (Words{"a"})) << "a mark of 8.0";
}

TEST(SplitWords, DropsBytesThatAreNotUtf8) {
  EXPECT_EQ(words("a\xFF\x80"
                  "b"),
            (Words{"ab"}));
  EXPECT_EQ(words("a\xC0\x80"
                  "b"),
            (Words{"ab"}))
      << "overlong";
  EXPECT_EQ(words("a\xED\xA0\x80"
                  "b"),
            (Words{"ab"}))
      << "surrogate";
  EXPECT_EQ(words("a\xF4\x90\x80\x80"
                  "b"),
            (Words{"ab"}))
      << "beyond U+10FFFF";
  EXPECT_EQ(words("a\xE4\xB8"), (Words{"a"})) << "cut short";
  EXPECT_EQ(words("a\xE4"
                  "b"),
            (Words{"ab"}))
      << "only the bad byte goes";
}

TEST(Unicode, RecognisesUtf8) {
  EXPECT_TRUE(is_utf8("a\u00E9\u4E2D\U0001F600"));
  EXPECT_FALSE(is_utf8("a\x80"));
  EXPECT_FALSE(is_utf8("\xED\xA0\x80"));
  EXPECT_FALSE(is_utf8("\xE4\xB8"));
}

TEST(Tokenizer, EncodesTheLongestPieces) {
  const Tokenizer tokenizer = Tokenizer::from_vocab(kVocab);
  EXPECT_EQ(tokenizer.encode("A dog, RUNNING dogs!"), (Ids{2, 5, 6, 11, 8, 9, 6, 7, 12, 3}));
  EXPECT_EQ(tokenizer.encode_plain("dogs"), (Ids{6, 7}));
  EXPECT_EQ(tokenizer.encode("dogsx cat"), (Ids{2, 1, 1, 3})) << "a piece is missing";
  EXPECT_EQ(tokenizer.encode(""), (Ids{2, 3}));
}

TEST(Tokenizer, TakesWordsOfUpTo100Characters) {
  const Tokenizer tokenizer =
      Tokenizer::from_vocab("[PAD]\n[UNK]\n[CLS]\n[SEP]\n\u00DF\n##\u00DF\n");
  std::string word;
  for (int i = 0; i < 100; ++i) word += "\u00DF";
  const Ids ids = tokenizer.encode_plain(word);
  ASSERT_EQ(ids.size(), 100u);
  EXPECT_EQ(ids.front(), 4);
  EXPECT_EQ(ids.back(), 5);
  EXPECT_EQ(tokenizer.encode_plain(word + "\u00DF"), (Ids{1}));
}

TEST(Tokenizer, FindsAddedTokensInTheRawText) {
  const std::vector<std::string> added = {"[DEC]", "[DEC]x", "[DEC]"};
  const Tokenizer tokenizer = Tokenizer::from_vocab(kVocab, added);
  EXPECT_EQ(tokenizer.vocab_size(), 21u);
  EXPECT_EQ(tokenizer.id("[DEC]"), 19);
  EXPECT_EQ(tokenizer.token(20), "[DEC]x");
  EXPECT_EQ(tokenizer.encode_plain("dog[DEC]s[SEP]"), (Ids{6, 19, 1, 3}));
  EXPECT_EQ(tokenizer.encode_plain("[DEC]x"), (Ids{20})) << "the longest wins";
  EXPECT_EQ(tokenizer.encode_plain("[dec]"), (Ids{1, 1, 1})) << "exact case";
  EXPECT_EQ(tokenizer.encode_plain("[MASK"), (Ids{1, 1}));
}

TEST(Tokenizer, CutsToALength) {
  const Tokenizer tokenizer = Tokenizer::from_vocab(kVocab);
  EXPECT_EQ(tokenizer.encode_truncated("a dog a dog", 4), (Ids{2, 5, 6, 3}));
  EXPECT_EQ(tokenizer.encode_truncated("a dog", 4), (Ids{2, 5, 6, 3}));
  EXPECT_EQ(tokenizer.encode_truncated("a dog", 2), (Ids{2, 3}));
  EXPECT_EQ(code_of([&] { tokenizer.encode_truncated("a", 1); }), ErrorCode::usage);
}

TEST(Tokenizer, DecodesAndCleansEachToken) {
  const Tokenizer tokenizer = Tokenizer::from_vocab(kVocab);
  EXPECT_EQ(tokenizer.decode(Ids{2, 5, 6, 7, 11, 8, 9, 12, 3, 0, 0}), "a dogs, running!");
  EXPECT_EQ(tokenizer.decode(Ids{2, 5, 1, 10, 3}, {.skip_special_tokens = false}),
            "[CLS] a [UNK]. [SEP]");
  EXPECT_EQ(tokenizer.decode(Ids{7, 6}), "##s dog") << "the first piece keeps its mark";
  EXPECT_EQ(tokenizer.decode(Ids{5, -1, 1000, 2147483647, 6}), "a dog");
  EXPECT_EQ(tokenizer.decode({}), "");
}

TEST(Tokenizer, CleansTheWholeStringOnRequest) {
  const Tokenizer tokenizer = Tokenizer::from_vocab(kVocab);
  const Ids ids = {17, 15, 14, 16, 17, 18};
  EXPECT_EQ(tokenizer.decode(ids), "do n ' t do not");
  EXPECT_EQ(tokenizer.decode(ids, {.clean_up_tokenization_spaces = true}), "don't do not");
}

TEST(Tokenizer, CarriesBertBaseUncased) {
  const Tokenizer tokenizer = Tokenizer::bert_base_uncased();
  EXPECT_EQ(tokenizer.vocab_size(), 30524u);
  EXPECT_EQ(tokenizer.id("[DEC]"), 30522);
  EXPECT_EQ(tokenizer.id("[ENC]"), 30523);
  EXPECT_EQ((Ids{tokenizer.pad_id(), tokenizer.unk_id(), tokenizer.cls_id(), tokenizer.sep_id()}),
            (Ids{0, 100, 101, 102}));
  EXPECT_EQ(tokenizer.token(30521), "##\uFF5E");
  EXPECT_EQ(tokenizer.encode("A woman sleeping under a baseball bat."),
            (Ids{101, 1037, 2450, 5777, 2104, 1037, 3598, 7151, 1012, 102}));
  EXPECT_EQ(tokenizer.decode(Ids{30522, 2195, 5055, 3564, 2006, 2019, 12977, 102}),
            "several birds sitting on an umbrella");
}

TEST(Tokenizer, TakesLongTexts) {
  const Tokenizer tokenizer = Tokenizer::bert_base_uncased();
  const std::size_t size = 1'000'000;
  EXPECT_EQ(tokenizer.encode_plain(std::string(size, 'a')), (Ids{100}));
  EXPECT_EQ(tokenizer.encode_plain(std::string(size, '[')).size(), size);
  std::string marks;
  while (marks.size() < size) marks += "\u302E\u0301\u1B44";
  EXPECT_EQ(tokenizer.encode_plain(marks), (Ids{100}));
}

TEST(Tokenizer, KnowsEveryEntry) {
  const Tokenizer tokenizer = Tokenizer::bert_base_uncased();
  for (int id = 0; id < 30524; ++id) ASSERT_EQ(tokenizer.id(tokenizer.token(id)), id);
  EXPECT_EQ(tokenizer.token(-1), "");
  EXPECT_EQ(tokenizer.token(30524), "");
  EXPECT_EQ(tokenizer.id("no such entry"), -1);
}

TEST(Tokenizer, RefusesDamagedVocabularies) {
  const auto from = [](std::string_view text) {
    return code_of([&] { Tokenizer::from_vocab(text); });
  };
  EXPECT_EQ(from(""), ErrorCode::bad_model);
  EXPECT_EQ(from("[PAD]\n[UNK]\n[CLS]\n"), ErrorCode::bad_model) << "no [SEP]";
  EXPECT_EQ(from("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\na\n"), ErrorCode::bad_model) << "twice";
  EXPECT_EQ(from("[PAD]\n[UNK]\n[CLS]\n[SEP]\n\xFF\n"), ErrorCode::bad_model) << "not UTF-8";
  const std::vector<std::string> many = [] {
    std::vector<std::string> tokens;
    for (int i = 0; i < 2000; ++i) tokens.push_back("[t" + std::to_string(i) + "]");
    return tokens;
  }();
  EXPECT_EQ(code_of([&] { Tokenizer::from_vocab(kVocab, many); }), ErrorCode::bad_model);
  std::string gigantic(kVocab);
  for (int i = 0; i < 1 << 20; ++i) gigantic += std::to_string(i) + "\n";
  EXPECT_EQ(from(gigantic), ErrorCode::bad_model);
}

TEST(Tokenizer, TakesWindowsLineEndsAndNoLastOne) {
  const Tokenizer tokenizer = Tokenizer::from_vocab("[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\ndog");
  EXPECT_EQ(tokenizer.vocab_size(), 5u);
  EXPECT_EQ(tokenizer.encode("dog"), (Ids{2, 4, 3}));
}

}  // namespace
}  // namespace blip
