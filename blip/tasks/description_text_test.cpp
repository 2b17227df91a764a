#include "blip/tasks/description_text.h"

#include <gtest/gtest.h>

#include "blip/tasks/description_options.h"

namespace blip {
namespace {

std::string clean(std::string_view text) {
  const ClassicOptions options;
  return clean_text(text, {options.leading_phrases, options.leading_punctuation});
}

TEST(CleanText, DropsEachLeadingPhrase) {
  const ClassicOptions options;
  EXPECT_EQ(options.leading_phrases.size(), 14u);
  for (const std::string& phrase : options.leading_phrases) {
    EXPECT_EQ(clean(phrase + " dogs run"), "Dogs run") << phrase;
    EXPECT_EQ(clean(phrase + ": dogs run"), "Dogs run") << phrase;
    EXPECT_EQ(clean(phrase + " : dogs run"), "Dogs run") << phrase;
    EXPECT_EQ(clean(phrase), "") << phrase;
  }
}

TEST(CleanText, DropsPhrasesInAnyCaseOneAfterTheOther) {
  EXPECT_EQ(clean("A PHOTO OF A dog"), "A dog");
  EXPECT_EQ(clean("Add More specific visual details to this description: a picture of a dog"),
            "A picture of a dog")
      << "each is tried once, in the order of the list";
  EXPECT_EQ(clean("a photography of a picture of a view of dogs"), "Dogs");
  EXPECT_EQ(clean("a photography of: a photography of: dogs"), "A photography of: dogs");
}

TEST(CleanText, KeepsWhatOnlyBeginsLikeAPhrase) {
  EXPECT_EQ(clean("a view offering dogs"), "A view offering dogs");
  EXPECT_EQ(clean("dogs in a picture of dogs"), "Dogs in a picture of dogs");
  EXPECT_EQ(clean("a  photo of dogs"), "A  photo of dogs");
}

TEST(CleanText, DropsAColonThenPunctuationAndSpaces) {
  EXPECT_EQ(clean("  dogs run \n"), "Dogs run");
  EXPECT_EQ(clean(": dogs"), "Dogs");
  EXPECT_EQ(clean(": .,! ?;- dogs, run."), "Dogs, run.");
  EXPECT_EQ(clean("a photo of, dogs"), "Dogs");
  EXPECT_EQ(clean(":: dogs"), ": dogs") << "one colon";
  EXPECT_EQ(clean("- : dogs"), ": dogs") << "a colon before punctuation, none after";
  EXPECT_EQ(clean("(dogs)"), "(dogs)");
  EXPECT_EQ(clean(" .,!? "), "");
  EXPECT_EQ(clean(""), "");
}

TEST(CleanText, WorksOnCharacters) {
  EXPECT_EQ(clean("a photo of \u00E9l\u00E9phants"), "\u00C9l\u00E9phants");
  EXPECT_EQ(clean("\u3000\u4E00\u53EA\u72D7\u00A0"), "\u4E00\u53EA\u72D7");
  EXPECT_EQ(clean_text("\u00C9TUDE de chiens", {{"\u00E9tude de"}, ""}), "Chiens");
  EXPECT_EQ(clean_text("\u3002dogs", {{}, "\u3002"}), "Dogs");
  EXPECT_EQ(clean("\xFF\x80 dogs"), "\uFFFD\x80 dogs") << "bytes that are not UTF-8";
}

TEST(Words, AreWhatWhiteSpaceSeparates) {
  const std::string text = " a\tb-c\u3000d,\n e\u00A0";
  EXPECT_EQ(words_of(text), (std::vector<std::string_view>{"a", "b-c", "d,", "e"}));
  EXPECT_EQ(count_words(text), 4u);
  EXPECT_EQ(count_words(" \n"), 0u);
  EXPECT_EQ(count_characters("a\u00E9\u4E00\U0001F600"), 4u);
  EXPECT_EQ(single_spaced("  a \n\n b\t"), "a b");
}

TEST(DistinctWords, AreBareLowerCaseAndInOrder) {
  const std::vector<std::string> texts = {"Dogs, cats and a CAT on the Beach.",
                                          "beach dogs (\u00C9t\u00E9s) it's \u00E9t\u00E9s"};
  EXPECT_EQ(distinct_words(texts, 3),
            (std::vector<std::string>{"dogs", "cats", "beach", "\u00E9t\u00E9s", "it's"}));
  EXPECT_EQ(distinct_words(texts, 4), (std::vector<std::string>{"beach"}));
}

TEST(ContentWords, LeaveOutWhatCarriesNoMeaning) {
  const auto words = content_words("There is a Dog, and two dogs on the beach...");
  EXPECT_EQ(words, (std::set<std::string, std::less<>>{"dog", "two", "dogs", "beach"}));
  EXPECT_TRUE(content_words("the a of ...").empty());
}

TEST(SentenceOf, IsReadable) {
  const std::vector<std::string> noise = {"arafed"};
  EXPECT_EQ(sentence_of("arafed dog on a beach", noise), "Dog on a beach.");
  EXPECT_EQ(sentence_of("A bald bald, bald man", noise), "A bald man.");
  EXPECT_EQ(sentence_of("dogs run !", noise), "Dogs run !");
  EXPECT_EQ(sentence_of("dogs run, ", noise), "Dogs run.");
  EXPECT_EQ(sentence_of("Is it a dog?", noise), "Is it a dog?");
  EXPECT_EQ(sentence_of(" . arafed ,", noise), "");
  EXPECT_EQ(sentence_of("", noise), "");
}

}  // namespace
}  // namespace blip
