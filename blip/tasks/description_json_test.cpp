#include "blip/tasks/description_json.h"

#include <gtest/gtest.h>

#include "blip/base/error.h"

namespace blip {
namespace {

Json parse(std::string_view text) {
  return parse_json(text, "test");
}

template <class Options>
std::string refused(std::string_view text) {
  Options options;
  try {
    update_from_json(options, parse(text));
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::usage) << e.what();
    EXPECT_EQ(to_json(options), to_json(Options())) << "a part was taken over";
    return e.what();
  }
  ADD_FAILURE() << text;
  return "";
}

TEST(DescriptionOptions, GoThroughJsonUnchanged) {
  ClassicOptions classic;
  update_from_json(classic, parse(R"({"describe": {"prompts": ["a", "b"], "num_beams": 3,
      "early_stopping": "never", "temperature": 0.5}, "rounds": {"high": 5},
      "leading_phrases": [], "keep_over_characters": 0, "extend": {"max_new_tokens": 9}})"));
  EXPECT_EQ(classic.describe.prompts, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(classic.describe.generation.num_beams, 3);
  EXPECT_EQ(classic.describe.generation.early_stopping, EarlyStopping::never);
  EXPECT_EQ(classic.describe.generation.max_length, 150) << "what is not named stays";
  EXPECT_EQ(classic.rounds.high, 5);
  EXPECT_EQ(classic.rounds.medium, 2);
  EXPECT_EQ(classic.keep_over_characters, 0);
  EXPECT_EQ(classic.extend.generation.max_new_tokens, 9);
  ClassicOptions again;
  update_from_json(again, to_json(classic));
  EXPECT_EQ(to_json(again), to_json(classic));
  FaithfulOptions faithful;
  update_from_json(faithful, parse(R"({"prompts": "one", "samples": {"top_p": 0.5},
      "least_share": 1, "sentences": {"off": 2}, "beams": {"max_length": 30}})"));
  EXPECT_EQ(faithful.prompts, std::vector<std::string>{"one"}) << "one needs no list";
  EXPECT_EQ(faithful.samples.top_p, 0.5);
  EXPECT_EQ(faithful.least_share, 1.0);
  EXPECT_EQ(faithful.sentences.off, 2);
  EXPECT_FALSE(faithful.beams.max_new_tokens) << "a limit replaces that of the other form";
  FaithfulOptions other;
  update_from_json(other, to_json(faithful));
  EXPECT_EQ(to_json(other)["samples"], to_json(faithful)["samples"]);
}

TEST(DescriptionOptions, KeysMayHaveDots) {
  ClassicOptions options;
  update_from_json(options, parse(R"({"describe.num_beams": 3, "describe": {"top_k": 7},
      "describe.top_p": 0.5, "rounds.low": 4, "keep_over_characters": 1})"));
  EXPECT_EQ(options.describe.generation.num_beams, 3);
  EXPECT_EQ(options.describe.generation.top_k, 7);
  EXPECT_EQ(options.describe.generation.top_p, 0.5);
  EXPECT_EQ(options.rounds.low, 4);
  EXPECT_EQ(options.keep_over_characters, 1);
}

TEST(DescriptionOptions, UnknownKeysNameTheNearest) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"describe": {"num_beam": 4}})", "nearest is describe.num_beams"},
      {R"({"num_beams": 4})", "nearest is describe.num_beams"},
      {R"({"refine": {"tempreature": 1}})", "nearest is refine.temperature"},
      {R"({"round": {"high": 1}})", "nearest is rounds"},
      {R"({"rounds": {"hihg": 1}})", "nearest is rounds.high"},
      {R"({"describe": {"seed": 1}})", "no option \"describe.seed\""},
      {R"({"": 1})", "no option \"\""},
      {R"({"extend": {"bad_words_ids": []}})", "extend.bad_words_ids"},
      {R"({"describe.num_beams.x": 1})", "describe.num_beams.x"},
      {R"({"describe": {"generation.num_beams": 1}})", "describe.generation.num_beams"},
  };
  for (const auto& [json, says] : cases) {
    const std::string message = refused<ClassicOptions>(json);
    EXPECT_NE(message.find(says), std::string::npos) << message;
  }
  EXPECT_NE(refused<FaithfulOptions>(R"({"sample": {}})").find("nearest is samples"),
            std::string::npos);
  const Json long_key = {{std::string(1 << 20, 'x'), 1}};
  ClassicOptions options;
  EXPECT_THROW(update_from_json(options, long_key), Error);
}

TEST(DescriptionOptions, WrongValuesAreRefused) {
  const char* cases[] = {
      R"([])",
      R"("text")",
      R"({"describe": 4})",
      R"({"describe.num_beams": 4, "describe": 4})",
      R"({"describe": {"num_beams": "many"}})",
      R"({"describe": {"num_beams": 1e10}})",
      R"({"describe": {"prompts": [1]}})",
      R"({"describe": {"prompts": null}})",
      R"({"rounds": 3})",
      R"({"rounds": {"high": 1.5}})",
      R"({"leading_phrases": {"a": 1}})",
      R"({"keep_over_characters": 99999999999})",
      R"({"keep_over_characters": 3, "extend_over_words": true})",
  };
  for (const char* json : cases) refused<ClassicOptions>(json);
  refused<FaithfulOptions>(R"({"least_share": "half"})");
}

TEST(DescriptionJson, HoldsWhatIsKnown) {
  Description description;
  description.text = "Deux \u00E9l\u00E9phants";
  description.rounds = 2;
  description.prompts.push_back({DescriptionStage::round, 2, "more: x", {"A", "B"}, true, false});
  const Json classic = to_json(description);
  EXPECT_EQ(classic["recipe"], "classic");
  EXPECT_EQ(classic["words"], 2);
  EXPECT_EQ(classic["characters"], 14);
  EXPECT_EQ(classic["rounds"], 2);
  EXPECT_EQ(classic["polished"], false);
  EXPECT_EQ(classic["prompt_shortened"], true);
  EXPECT_FALSE(classic.contains("sentences"));
  EXPECT_EQ(classic["prompts"][0], parse(R"({"stage": "round", "round": 2, "prompt": "more: x",
      "texts": ["A", "B"], "shortened": true, "skipped": false})"));
  description.recipe = DescriptionRecipe::faithful;
  description.confidence = ConfidenceKind::itc;
  description.sentences = {{"A dog.", 0.5}};
  description.unpolished = "before";
  description.polish_error = "why";
  const Json faithful = to_json(description);
  EXPECT_EQ(faithful["confidence"], "itc");
  EXPECT_EQ(faithful["sentences"][0]["confidence"], 0.5);
  EXPECT_EQ(faithful["unpolished"], "before");
  EXPECT_EQ(faithful["polish_error"], "why");
}

}  // namespace
}  // namespace blip
