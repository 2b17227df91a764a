#include "blip/tasks/capfilt.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "blip/tasks/capfilt_json.h"
#include "blip/tasks/tiny_engines_test.h"

namespace blip {
namespace {

/// Writes "synthetic SEED" for every picture and scores texts as a table says.
struct Script {
  std::map<std::string, CapFiltScores> scores;
  std::function<std::string(const GenerationConfig&)> text = [](const GenerationConfig& g) {
    return "synthetic " + std::to_string(g.seed);
  };
  std::vector<std::uint64_t> seeds;
  std::vector<std::string> judged;
  int encoded = 0;

  CapFilter filter(CapFiltOptions options = {}) {
    CapFiltModel model;
    model.prepare = [](const Image&) { return CapFiltPicture{}; };
    model.encode = [this](auto pictures, const Context&) {
      encoded += static_cast<int>(pictures.size());
    };
    model.write = [this](auto pictures, auto wanted, const Context&) {
      std::vector<std::vector<std::string>> texts(pictures.size());
      for (std::size_t i = 0; i < pictures.size(); ++i) {
        seeds.push_back(wanted[i].generation.seed);
        for (int n = 0; n < wanted[i].generation.num_return_sequences; ++n)
          texts[i].push_back(text(wanted[i].generation));
      }
      return texts;
    };
    model.judge = [this](const CapFiltPicture&, auto texts, const Context&) {
      std::vector<CapFiltScores> found;
      for (const std::string& one : texts) {
        judged.push_back(one);
        found.push_back(scores.contains(one) ? scores[one] : CapFiltScores{0.9, 0.5, false});
      }
      return found;
    };
    model.has_words = [](const std::string& one) { return !one.empty(); };
    return CapFilter(model, options);
  }
};

CapFiltInput input(const std::string& key, std::vector<std::string> texts) {
  CapFiltInput made;
  made.key = key;
  made.texts = std::move(texts);
  return made;
}

CapFiltRecord run_one(const CapFilter& filter, CapFiltInput one) {
  return filter.run(std::span(&one, 1)).front();
}

TEST(CapFilt, WebAndSyntheticTextsAreFilteredByItm) {
  Script script;
  script.text = [](const auto&) { return "written"; };
  script.scores = {{"noise", {0.49, 0.9, false}}, {"written", {0.5, 0.1, false}}};
  const CapFiltRecord record = run_one(script.filter(), input("a", {"noise"}));
  ASSERT_EQ(record.texts.size(), 2u);
  EXPECT_EQ(record.texts[0].origin, TextOrigin::web);
  EXPECT_FALSE(record.texts[0].kept);
  EXPECT_EQ(record.texts[0].reason, "itm");
  EXPECT_EQ(record.texts[1].origin, TextOrigin::synthetic);
  EXPECT_TRUE(record.texts[1].kept);
  EXPECT_EQ(record.verdict(), CapFiltVerdict::kept);
  EXPECT_EQ(record.kept_texts(), std::vector<std::string>{"written"});
}

TEST(CapFilt, ARecordWithoutAKeptTextIsDropped) {
  Script script;
  script.text = [](const auto&) { return "written"; };
  script.scores = {{"noise", {0.1, 0, false}}, {"written", {0.2, 0, false}}};
  EXPECT_EQ(run_one(script.filter(), input("a", {"noise"})).verdict(), CapFiltVerdict::dropped);
}

TEST(CapFilt, ItcDropsOnlyWhenAsked) {
  Script script;
  script.scores = {{"web", {0.9, 0.2, false}}};
  CapFiltOptions options;
  EXPECT_TRUE(run_one(script.filter(options), input("a", {"web"})).texts[0].kept);
  options.itc_threshold = 0.25;
  const CapFiltRecord record = run_one(script.filter(options), input("a", {"web"}));
  EXPECT_EQ(record.texts[0].reason, "itc");
  EXPECT_TRUE(record.texts[1].kept);
}

TEST(CapFilt, AScoreThatIsNoNumberDrops) {
  Script script;
  script.scores = {{"web", {std::nan(""), 0.2, false}}};
  EXPECT_EQ(run_one(script.filter(), input("a", {"web"})).texts[0].reason, "itm");
}

TEST(CapFilt, DrawsDependOnSeedAndKeyAlone) {
  Script script;
  CapFiltOptions options;
  std::vector<CapFiltInput> both;
  both.push_back(input("a", {}));
  both.push_back(input("b", {}));
  const auto together = script.filter(options).run(both);
  EXPECT_NE(together[0].texts[0].text, together[1].texts[0].text);
  EXPECT_EQ(run_one(script.filter(options), input("b", {"x"})).texts[1].text,
            together[1].texts[0].text);
  options.writing.generation.seed = 1;
  EXPECT_NE(run_one(script.filter(options), input("b", {})).texts[0].text,
            together[1].texts[0].text);
}

TEST(CapFilt, WithoutFilterEverythingIsKeptAndNothingJudged) {
  Script script;
  CapFiltOptions options;
  options.filter = false;
  const CapFiltRecord record = run_one(script.filter(options), input("a", {"web"}));
  EXPECT_EQ(record.kept_texts().size(), 2u);
  EXPECT_FALSE(record.texts[0].scores.itm);
  EXPECT_TRUE(script.judged.empty());
}

TEST(CapFilt, WithoutCaptionerOnlyWebTextsAreJudged) {
  Script script;
  CapFiltOptions options;
  options.captioner = false;
  EXPECT_EQ(run_one(script.filter(options), input("a", {"web"})).texts.size(), 1u);
  EXPECT_TRUE(script.seeds.empty());
  options.filter = false;
  EXPECT_THROW(script.filter(options), Error);
}

TEST(CapFilt, SeveralSyntheticTextsAndRepeatedOnesOnce) {
  Script script;
  script.text = [](const auto&) { return "web"; };
  CapFiltOptions options;
  options.writing.generation.num_return_sequences = 3;
  const CapFiltRecord record = run_one(script.filter(options), input("a", {"web"}));
  ASSERT_EQ(record.texts.size(), 4u);
  EXPECT_EQ(record.texts[3].reason, "repeated");
  EXPECT_EQ(record.kept_texts().size(), 1u);
  EXPECT_EQ(script.judged, std::vector<std::string>{"web"});
}

TEST(CapFilt, TextsWithoutWordsAreDroppedUnjudged) {
  Script script;
  const CapFiltRecord record = run_one(script.filter(), input("a", {""}));
  EXPECT_EQ(record.texts[0].reason, "no words");
  EXPECT_EQ(script.judged.size(), 1u);
}

TEST(CapFilt, HumanTextsAreKeptAndFailuresAreKeptInTheBooks) {
  Script script;
  std::vector<CapFiltInput> inputs;
  inputs.push_back(input("h", {"bad text"}));
  inputs.back().human = true;
  inputs.push_back(input("f", {"web"}));
  inputs.back().error.emplace(ErrorCode::bad_image, "broken");
  const auto records = script.filter().run(inputs);
  EXPECT_EQ(records[0].verdict(), CapFiltVerdict::kept);
  EXPECT_EQ(records[0].kept_texts(), std::vector<std::string>{"bad text"});
  EXPECT_EQ(records[1].verdict(), CapFiltVerdict::failed);
  EXPECT_TRUE(records[1].kept_texts().empty());
  EXPECT_EQ(script.encoded, 0);
}

TEST(CapFilt, StatisticsBalanceAndGoThroughJson) {
  Script script;
  script.scores = {{"noise", {0.04, -1.0, true}}};
  std::vector<CapFiltInput> inputs;
  inputs.push_back(input("a", {"noise"}));
  inputs.push_back(input("f", {}));
  inputs.back().error.emplace(ErrorCode::bad_image, "broken");
  CapFiltStatistics statistics;
  for (const CapFiltRecord& record : script.filter().run(inputs)) {
    const Json json = to_json(record);
    EXPECT_EQ(json, to_json(capfilt_record_from_json(json, "here")));
    statistics.add(record);
  }
  EXPECT_THROW(statistics.require_balance("here"), Error);
  statistics.records_in = 2;
  statistics.require_balance("here");
  EXPECT_EQ(statistics.kept, 1);
  EXPECT_EQ(statistics.web.itm[0], 1);
  EXPECT_EQ(statistics.web.itc[0], 1);
  EXPECT_EQ(statistics.web.truncated, 1);
  EXPECT_EQ(statistics.synthetic.itm[18], 1);
  CapFiltStatistics twice = capfilt_statistics_from_json(to_json(statistics), "here");
  EXPECT_EQ(to_json(twice), to_json(statistics));
  twice.add(statistics);
  EXPECT_EQ(twice.web.reasons.at("itm"), 2);
  EXPECT_THROW(capfilt_statistics_from_json(Json::object(), "here"), Error);
}

TEST(CapFilt, OneCheckpointServesAsBoth) {
  const Engine engine = tiny_engine("E_original/pretrain/model_pretrain.pth", 4);
  CapFiltOptions options;
  options.writing = nucleus_caption_options();
  options.prompt = capfilt_prompt(engine);
  EXPECT_EQ(options.prompt, kPaperPrompt);
  const CapFilter filter(capfilt_model(engine, engine, options), options);
  CapFiltInput one = input("a", {"a cup of coffee"});
  one.picture = filter.prepare(stripes(3));
  EXPECT_TRUE(one.picture.filter_pixels.empty());
  const CapFiltRecord record = run_one(filter, std::move(one));
  const Matcher matcher(engine);
  const auto texts = matcher.encode(std::vector<std::string>{"a cup of coffee"});
  const Match match = matcher.match(encoded(engine, 3), texts).front();
  ASSERT_GE(record.texts.size(), 2u);
  EXPECT_NEAR(*record.texts[0].scores.itm, match.itm_probability, 1e-6);
  EXPECT_NEAR(*record.texts[0].scores.itc, match.itc_similarity, 1e-6);
}

}  // namespace
}  // namespace blip
