#include "blip/tasks/vqa.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/tasks/tiny_engines_test.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip {
namespace {

const QuestionAnswerer& answerer() {
  static const QuestionAnswerer made(tiny_engine("C_hf/vqa"));
  return made;
}

std::vector<Question> questions() {
  const Engine& engine = answerer().engine();
  return {{encoded(engine, 3), "what is it"},
          {encoded(engine, 5), "is the woman wearing a white helmet or a hat?"},
          {encoded(engine, 5), "where?"}};
}

ErrorCode code_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& e) {
    return e.code();
  }
  return ErrorCode::internal;
}

TEST(QuestionAnswerer, BatchesGiveTheSameAsOneAtATime) {
  std::vector<Question> all = questions();
  for (int i = 0; i < 12; ++i) all.push_back(all[static_cast<std::size_t>(i) % 3]);
  for (const int beams : {1, 3}) {
    AnswerOptions options = answerer().default_options();
    options.generation.num_beams = beams;
    const std::vector<Answers> together = answerer().answer(all, options);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const Answer alone = answerer().answer({&all[i], 1}, options)[0].answers.at(0);
      const Answer& answer = together[i].answers.at(0);
      EXPECT_EQ(answer.text, alone.text);
      EXPECT_EQ(answer.score, alone.score) << "not the same bits";
      EXPECT_GT(answer.probability, 0);
      EXPECT_LT(answer.probability, 1);
    }
  }
}

TEST(QuestionAnswerer, ReferenceMaskShowsThePaddingOfShorterQuestionsAlone) {
  const std::vector<Question> all = questions();
  AnswerOptions options = answerer().default_options();
  const std::vector<Answers> plain = answerer().answer(all, options);
  options.question.reference_mask = true;
  const std::vector<Answers> masked = answerer().answer(all, options);
  EXPECT_EQ(masked[1].answers[0].score, plain[1].answers[0].score) << "the longest has no padding";
  EXPECT_NE(masked[0].answers[0].score, plain[0].answers[0].score);
  EXPECT_EQ(answerer().answer({&all[0], 1}, options)[0].answers[0].score, plain[0].answers[0].score)
      << "alone there is no padding";
}

TEST(QuestionAnswerer, LongQuestionsAreCutAndMarked) {
  std::string words = "what is it";
  std::vector<Question> asked = questions();
  asked.resize(1);
  const std::vector<Answers> whole = answerer().answer(asked, answerer().default_options());
  EXPECT_FALSE(whole[0].truncated);
  AnswerOptions options = answerer().default_options();
  options.question.max_length = 5;  // [CLS] what is it [SEP]
  for (int i = 0; i < 5000; ++i) words += " it";
  asked[0].text = words;
  const std::vector<Answers> cut = answerer().answer(asked, options);
  EXPECT_TRUE(cut[0].truncated);
  EXPECT_EQ(cut[0].answers[0].score, whole[0].answers[0].score);
  options.question.max_length = 0;  // the model's positions
  EXPECT_TRUE(answerer().answer(asked, options)[0].truncated);
}

TEST(QuestionAnswerer, RefusesWhatCannotBeAsked) {
  std::vector<Question> asked = questions();
  const auto ask = [&] { answerer().answer(asked, answerer().default_options()); };
  for (const std::string text : {"", "  \t ", "\x01\x02"}) {
    asked[0].text = text;
    EXPECT_EQ(code_of(ask), ErrorCode::usage) << in_quotes(text);
  }
  asked[0] = {EncodedImage(), "what?"};
  EXPECT_EQ(code_of(ask), ErrorCode::usage) << "no picture";
  asked[0] = {encoded(tiny_engine("C_hf/retrieval"), 3), "what?"};
  EXPECT_EQ(code_of(ask), ErrorCode::usage) << "another engine's picture";
  asked = questions();
  const std::atomic<bool> stop = true;
  EXPECT_EQ(
      code_of([&] { answerer().answer(asked, answerer().default_options(), {.stop = &stop}); }),
      ErrorCode::cancelled);
}

TEST(QuestionAnswerer, CheckpointsForOtherTasksSaySo) {
  EXPECT_EQ(code_of([] { QuestionAnswerer(tiny_engine("C_hf/retrieval")); }),
            ErrorCode::unsupported);
  EXPECT_EQ(code_of([] { Captioner(tiny_engine("C_hf/vqa")); }), ErrorCode::unsupported)
      << "its decoder looks at questions";
}

TEST(QuestionAnswerer, AuthorsCheckpointsHaveTheirSettings) {
  const QuestionAnswerer authors(tiny_engine("E_original/vqa/model_vqa.pth", 4));
  const AnswerOptions options = authors.default_options();
  EXPECT_EQ(options.generation.num_beams, 3);
  EXPECT_EQ(options.generation.max_length, 10);
  EXPECT_EQ(options.generation.min_length, 1);
  const Question question{encoded(authors.engine(), 3), "what is it"};
  AnswerOptions cls = options;
  cls.question.first_token = FirstToken::cls;
  EXPECT_NE(authors.answer({&question, 1}, options)[0].answers[0].score,
            authors.answer({&question, 1}, cls)[0].answers[0].score)
      << "[ENC] is what the authors' questions begin with";
}

TEST(Ranking, DuplicatesCountOnceAndKeepTheirPlace) {
  const std::vector<std::string> texts = {"yes", "no", "YES", "two", "no", "a cat"};
  const AnswerList list = answerer().encode_answers(texts);
  ASSERT_EQ(list.entries.size(), 4u);
  EXPECT_EQ(list.entries[2].index, 3u);
  const std::vector<Answers> ranked = answerer().rank(questions(), list);
  ASSERT_EQ(ranked[0].answers.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    const Answer& answer = ranked[0].answers[i];
    EXPECT_EQ(answer.text, texts[answer.index]);
    EXPECT_LE(answer.score, ranked[0].answers[i == 0 ? 0 : i - 1].score);
    double sum = 0;
    for (const CaptionToken& token : answer.tokens) sum += double{token.logprob};
    EXPECT_NEAR(answer.probability, std::exp(sum), 1e-12);
    EXPECT_EQ(answer.tokens.back().text, "[SEP]");
  }
}

TEST(Ranking, AnAnswersScoreDoesNotDependOnTheList) {
  // More tokens than one pass takes.
  std::vector<std::string> texts;
  for (const char* first : {"red", "blue", "white", "black", "green"}) {
    for (const char* second : {"hat", "cat", "dog", "cup", "table", "rocket"}) {
      for (const char* third : {"today", "outside", "here"})
        texts.push_back(std::string(first) + " " + second + " " + third);
    }
  }
  RankOptions options;
  options.label_smoothing = 0;
  const std::vector<Question> asked = questions();
  const std::vector<Answers> all =
      answerer().rank(asked, answerer().encode_answers(texts), options);
  for (std::size_t q = 0; q < asked.size(); ++q) {
    ASSERT_EQ(all[q].answers.size(), texts.size());
    for (const Answer& answer : {all[q].answers.front(), all[q].answers.back()}) {
      const AnswerList one = answerer().encode_answers({&texts[answer.index], 1});
      const Answer alone = answerer().rank({&asked[q], 1}, one, options)[0].answers.at(0);
      EXPECT_EQ(alone.score, answer.score) << answer.text;
      EXPECT_NEAR(alone.score, std::log(alone.probability), 1e-6) << "the plain likelihood";
    }
  }
}

TEST(Ranking, OnlyTheLikeliestStartsAreScored) {
  const std::vector<std::string> texts = {"yes", "no", "two", "a cat", "white", "rocket"};
  const AnswerList list = answerer().encode_answers(texts);
  const std::vector<Question> asked = questions();
  const std::vector<Answers> all = answerer().rank(asked, list);
  const std::vector<Answers> best = answerer().rank(asked, list, {.top_k = 2});
  for (std::size_t q = 0; q < asked.size(); ++q) {
    ASSERT_EQ(best[q].answers.size(), 2u);
    float least_kept = 0, largest_dropped = -1000;
    for (const Answer& answer : all[q].answers) {
      const float start = answer.tokens.front().logprob;
      const bool kept =
          answer.index == best[q].answers[0].index || answer.index == best[q].answers[1].index;
      float& bound = kept ? least_kept : largest_dropped;
      bound = kept ? std::min(bound, start) : std::max(bound, start);
    }
    EXPECT_GE(least_kept, largest_dropped);
  }
}

TEST(Ranking, RefusesListsThatCannotBeRanked) {
  const auto encode = [](std::vector<std::string> texts) {
    return code_of([&] { answerer().encode_answers(texts); });
  };
  EXPECT_EQ(encode({}), ErrorCode::usage);
  EXPECT_EQ(encode({"yes", " "}), ErrorCode::usage);
  std::string endless;
  for (int i = 0; i < 600; ++i) endless += "a ";
  EXPECT_EQ(encode({endless}), ErrorCode::usage) << "more tokens than positions";
  const std::string yes = "yes";
  AnswerList list = answerer().encode_answers({&yes, 1});
  const auto rank = [&](const RankOptions& options) {
    return code_of([&] { answerer().rank(questions(), list, options); });
  };
  EXPECT_EQ(rank({.top_k = 0}), ErrorCode::usage);
  EXPECT_EQ(rank({.label_smoothing = 1}), ErrorCode::usage);
  list.entries[0].ids = {1 << 20};
  EXPECT_EQ(rank({}), ErrorCode::usage) << "not of this vocabulary";
  list.entries[0].ids = {};
  EXPECT_EQ(rank({}), ErrorCode::usage);
}

}  // namespace
}  // namespace blip
