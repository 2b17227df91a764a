#include <gtest/gtest.h>

#include <atomic>
#include <cmath>

#include "blip/base/error.h"
#include "blip/tasks/scripted_model_test.h"

namespace blip {
namespace {

/// A text that the model gives, and the log-probability of each of its two tokens.
struct Said {
  std::string text;
  float logprob = -0.1f;
  bool finished = true;
};

/// The faithful recipe with one prompt: its beams say `beams`, its samples `samples`.
struct FaithfulScript {
  std::vector<Said> beams;
  std::vector<Said> samples;
  DescriptionOptions options;
  std::vector<std::vector<CaptionOptions>> calls;
  Judge judge;
  std::size_t most_tokens = 100;

  FaithfulScript() {
    options.recipe = DescriptionRecipe::faithful;
    options.faithful.prompts = {""};
  }

  Description describe(const DescriptionListener& listener = {}) {
    DescriptionModel model;
    model.caption = [this](std::span<const CaptionRequest> requests,
                           std::span<const CaptionOptions> given, const Context&,
                           const WritingListener&) {
      calls.emplace_back(given.begin(), given.end());
      std::vector<std::vector<Caption>> captions;
      for (std::size_t i = 0; i < requests.size(); ++i) {
        std::vector<Caption>& of_request = captions.emplace_back();
        for (const Said& said : i % 2 == 0 ? beams : samples) {
          Caption caption;
          caption.text = said.text;
          caption.tokens.resize(2, {0, "", said.logprob});
          caption.finished = said.finished;
          of_request.push_back(std::move(caption));
        }
      }
      return captions;
    };
    model.prompt_tokens = [](const std::string& prompt) { return count_words(prompt) + 1; };
    model.most_tokens = most_tokens;
    return Describer(std::move(model)).describe({{}, judge}, options, listener);
  }

  /// A judge that knows the confidence of each text; others are not to be asked about.
  void judged(std::vector<std::pair<std::string, double>> known) {
    judge.kind = ConfidenceKind::itm;
    judge.confidences = [=](std::span<const std::string> texts, const Context&) {
      std::vector<double> confidences;
      for (const std::string& text : texts) {
        for (const auto& [one, confidence] : known) {
          if (one == text) confidences.push_back(confidence);
        }
      }
      return confidences;
    };
  }
};

TEST(FaithfulDescription, RunsBeamsAndSamplesOfEveryPromptAsOneBatch) {
  FaithfulScript script;
  script.options.faithful.prompts = FaithfulOptions().prompts;
  script.beams = {{"a dog"}};
  const Description description = script.describe();
  ASSERT_EQ(script.calls.size(), 1u);
  ASSERT_EQ(script.calls[0].size(), 8u);
  EXPECT_FALSE(script.calls[0][0].generation.do_sample);
  EXPECT_EQ(script.calls[0][0].generation.num_beams, 5);
  EXPECT_TRUE(script.calls[0][7].generation.do_sample);
  EXPECT_EQ(script.calls[0][7].generation.top_p, 0.9);
  EXPECT_NE(script.calls[0][1].generation.seed, script.calls[0][3].generation.seed);
  EXPECT_EQ(description.recipe, DescriptionRecipe::faithful);
  EXPECT_EQ(description.prompts.size(), 8u);
}

TEST(FaithfulDescription, JoinsSentencesBestFirst) {
  FaithfulScript script;
  script.beams = {{"a photo of a brown dog", -0.2f}, {"green grass , ", -0.1f}};
  script.samples = {{"arafed blue sky sky", -0.3f}};
  const Description description = script.describe();
  EXPECT_EQ(description.text, "Green grass. A brown dog. Blue sky.");
  ASSERT_EQ(description.sentences.size(), 3u);
  EXPECT_EQ(description.sentences[0].text, "Green grass.");
  EXPECT_NEAR(description.sentences[0].confidence, std::exp(-0.1), 1e-6);
  EXPECT_NEAR(description.sentences[2].confidence, std::exp(-0.3), 1e-6);
  EXPECT_EQ(description.confidence, ConfidenceKind::likelihood);
}

TEST(FaithfulDescription, DropsRepeatsAndNearDuplicates) {
  FaithfulScript script;
  script.beams = {{"a brown dog on the grass"}, {"a brown dog on the grass", -0.05f}};
  script.samples = {{"a dog"}, {"the brown dog on grass"}, {"a dog and a blue sky over hills"}};
  const Description description = script.describe();
  // Of {brown dog grass}, the last text has one of three words: it says something new.
  EXPECT_EQ(description.text, "A brown dog on the grass. A dog and a blue sky over hills.");
  EXPECT_NEAR(description.sentences[0].confidence, std::exp(-0.05), 1e-6)
      << "the better of two that are equal";
  script.beams = {{"a brown dog on the grass"}, {"a dog and hills"}};
  script.samples.clear();
  EXPECT_EQ(script.describe().text, "A brown dog on the grass.") << "half of it has been said";
}

TEST(FaithfulDescription, PrefersTheTextWithMoreRightWords) {
  FaithfulScript script;
  script.beams = {{"a dog"}, {"a brown dog on green grass"}};
  script.judged({{"A dog.", 0.99}, {"A brown dog on green grass.", 0.95}});
  const Description description = script.describe();
  EXPECT_EQ(description.text, "A brown dog on green grass.");
  EXPECT_EQ(description.confidence, ConfidenceKind::itm);
  EXPECT_EQ(description.sentences[0].confidence, 0.95);
}

TEST(FaithfulDescription, LeavesOutWhatTheJudgeDoubts) {
  FaithfulScript script;
  script.beams = {{"a dog"}, {"a cat with seven purple wings"}, {"blue sky"}};
  script.judged({{"A dog.", 0.9}, {"A cat with seven purple wings.", 0.7}, {"Blue sky.", 0.73}});
  EXPECT_EQ(script.describe().text, "A dog. Blue sky.") << "0.8 of 0.9 is 0.72";
}

TEST(FaithfulDescription, LeavesOutTextsThatWereCutOff) {
  FaithfulScript script;
  script.beams = {{"a dog on the", -0.01f, false}, {"blue sky"}};
  EXPECT_EQ(script.describe().text, "Blue sky.");
  script.beams.pop_back();
  EXPECT_EQ(script.describe().text, "A dog on the.") << "better than nothing";
}

TEST(FaithfulDescription, DetailLimitsTheSentences) {
  FaithfulScript script;
  for (const char* text :
       {"a dog", "one cat", "blue sky", "green grass", "white clouds", "red car", "tall tree"}) {
    script.beams.push_back({text});
  }
  const std::pair<DetailLevel, std::size_t> levels[] = {{DetailLevel::high, 6},
                                                        {DetailLevel::medium, 4},
                                                        {DetailLevel::low, 2},
                                                        {DetailLevel::off, 1}};
  for (const auto& [detail, sentences] : levels) {
    script.options.detail = detail;
    EXPECT_EQ(script.describe().sentences.size(), sentences);
  }
}

TEST(FaithfulDescription, HasNothingToSayWithoutWords) {
  FaithfulScript script;
  script.beams = {{""}, {"..."}, {"arafed"}, {"the"}};
  script.judge.confidences = [](auto, const Context&) -> std::vector<double> {
    ADD_FAILURE() << "there is nothing to judge";
    return {};
  };
  const Description description = script.describe();
  EXPECT_EQ(description.text, "");
  EXPECT_TRUE(description.sentences.empty());
}

TEST(FaithfulDescription, RefusesAJudgeThatMakesNoSense) {
  FaithfulScript script;
  script.beams = {{"a dog"}, {"a cat"}};
  for (const std::vector<double>& answer :
       {std::vector<double>{0.5}, std::vector<double>{0.5, std::nan("")},
        std::vector<double>{2, 0}}) {
    script.judge.confidences = [&](auto, const Context&) { return answer; };
    EXPECT_THROW(script.describe(), Error);
  }
}

TEST(FaithfulDescription, FitsIntoTheModel) {
  FaithfulScript script;
  script.beams = {{"a dog"}};
  script.options.faithful.prompts = {"", "this one is too long"};
  script.most_tokens = 5;
  const Description description = script.describe();
  EXPECT_TRUE(description.length_limited);
  EXPECT_TRUE(description.prompt_shortened());
  ASSERT_EQ(script.calls[0].size(), 2u);
  EXPECT_EQ(script.calls[0][0].generation.max_new_tokens, 4);
}

TEST(FaithfulDescription, TellsHowFarItIs) {
  FaithfulScript script;
  script.beams = {{"a dog"}, {"blue sky"}};
  script.judged({{"A dog.", 0.9}, {"Blue sky.", 0.8}});
  std::vector<std::string> events;
  script.describe([&](const DescriptionProgress& p) {
    events.push_back(std::string(name(p.stage)) + " " + std::to_string(p.done) + "/" +
                     std::to_string(p.of) + " " + std::string(p.text));
  });
  EXPECT_EQ(events, (std::vector<std::string>{"prompts 0/2 ", "prompts 2/2 ", "scoring 0/2 ",
                                              "scoring 2/2 A dog. Blue sky."}));
}

}  // namespace
}  // namespace blip
