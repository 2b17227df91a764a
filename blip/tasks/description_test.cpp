#include "blip/tasks/description.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <set>

#include "blip/base/error.h"
#include "blip/tasks/scripted_model_test.h"

namespace blip {
namespace {

/// So many words, each its own: "dogaaa dogaab ...". Longer than 3 letters.
std::string words(int count, const std::string& stem = "dog") {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += (i == 0 ? "" : " ") + stem;
    for (int rest = i, k = 0; k < 2; rest /= 26, ++k) text += static_cast<char>('a' + rest % 26);
  }
  return text;
}

std::string capital(std::string text) {
  text.front() = static_cast<char>(text.front() - 'a' + 'A');
  return text;
}

/// Says the i-th text to the i-th of the first prompts, and nothing new to later ones.
ScriptedModel says(std::vector<std::string> first) {
  const std::vector<std::string> prompts = ClassicOptions().describe.prompts;
  ScriptedModel model;
  model.text = [=](const std::string& prompt) {
    const auto found = std::ranges::find(prompts, prompt);
    const auto i = static_cast<std::size_t>(found - prompts.begin());
    return i < first.size() ? prompt + " " + first[i] : prompt;
  };
  return model;
}

/// The classic recipe that stops after the first prompts.
DescriptionOptions only_first() {
  DescriptionOptions options;
  options.multi_round = false;
  options.classic.extend_under_words = 0;
  return options;
}

std::string first_text(std::vector<std::string> texts) {
  return says(std::move(texts)).describe(only_first()).text;
}

template <class Work>
std::string error_of(ErrorCode code, const Work& work) {
  try {
    work();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TEST(ClassicDescription, RunsFourPromptsAsOneBatch) {
  ScriptedModel model = says({words(30)});
  const Description description = model.describe(only_first());
  ASSERT_EQ(model.calls.size(), 1u);
  EXPECT_EQ(model.calls[0].prompts,
            (std::vector<std::string>{"a photography of", "a detailed photography of",
                                      "a professional photography of",
                                      "a high resolution photography of"}));
  for (const GenerationConfig& config : model.calls[0].generation) {
    EXPECT_EQ(config.max_length, 150);
    EXPECT_FALSE(config.max_new_tokens);
    EXPECT_EQ(config.num_beams, 8);
    EXPECT_EQ(config.temperature, 0.8);
    EXPECT_EQ(config.repetition_penalty, 1.8);
    EXPECT_TRUE(config.do_sample);
    EXPECT_EQ(config.early_stopping, EarlyStopping::no);
    EXPECT_EQ(config.length_penalty, 3.0);
    EXPECT_EQ(config.no_repeat_ngram_size, 4);
    EXPECT_EQ(config.num_return_sequences, 1);
  }
  EXPECT_EQ(description.text, capital(words(30)));
  EXPECT_EQ(description.rounds, 1);
  EXPECT_EQ(description.prompts.size(), 4u);
  EXPECT_FALSE(description.prompt_shortened());
  EXPECT_FALSE(description.length_limited);
}

TEST(ClassicDescription, KeepsTextsOfOverTwentyCharacters) {
  const std::string twenty(20, 'x');
  EXPECT_EQ(first_text({twenty, twenty + "y", twenty}), "X" + std::string(19, 'x') + "y")
      << "of one, that one";
  EXPECT_EQ(first_text({words(10), "whale mouse house ox"}), capital(words(10)))
      << "20 characters: only one is kept, so that there is no list";
  EXPECT_TRUE(first_text({words(10), "whale mouse house oxe"}).starts_with("The image shows "));
  std::string accented;
  for (int i = 0; i < 20; ++i) accented += "\u00E9";
  EXPECT_EQ(first_text({"x" + twenty, accented}), "Xx" + std::string(19, 'x'))
      << "20 characters of 40 bytes are not kept";
}

TEST(ClassicDescription, TakesTheLongestInCharacters) {
  const std::string many_words = words(26, "d");  // 26 words, 103 characters
  const std::string long_words = words(26, "dog");
  EXPECT_EQ(first_text({many_words, long_words}), capital(long_words));
  const std::string other = words(26, "cat");
  EXPECT_EQ(first_text({long_words, other}), capital(long_words)) << "of equal ones the first";
}

TEST(ClassicDescription, PutsAListOfWordsBeforeAShortText) {
  const std::string list =
      "The image shows dogaa, dogba, dogca, dogda, dogea, dogfa, dogga, dogha, "
      "dogia, dogja, dogka, dogla, dogma, dogna, dogoa. ";
  EXPECT_EQ(first_text({words(24), words(5)}), list + capital(words(24)));
  EXPECT_EQ(first_text({words(25), words(5)}), capital(words(25))) << "25 words are enough";
  EXPECT_EQ(first_text({words(24)}), capital(words(24))) << "of one, that one";
  EXPECT_EQ(first_text({words(24), "the cat"}), capital(words(24))) << "one is kept";
}

TEST(ClassicDescription, ListsOnlyMoreThanTenWords) {
  EXPECT_EQ(first_text({words(10), words(5)}), capital(words(10)));
  EXPECT_EQ(first_text({words(10), words(4) + " a an the ox of, (cat)"}), capital(words(10)))
      << "words of up to 3 letters do not count";
  const std::string eleven = first_text({words(10), "Dogaa, DOGBA dogca whale."});
  EXPECT_EQ(eleven,
            "The image shows dogaa, dogba, dogca, dogda, dogea, dogfa, dogga, dogha, dogia, "
            "dogja, whale. " +
                capital(words(10)))
      << "each once, whatever its case and punctuation, in order of appearance";
}

TEST(ClassicDescription, FallsBackToShortTextsWhereAllAre) {
  EXPECT_EQ(first_text({"a cat", "two cats", "cat"}), "Two cats");
  EXPECT_EQ(first_text({}), "");
}

/// Runs the recipe on a first text of `count` words; the extension says `extended` to its prompts.
Description extended(int count, const std::vector<std::string>& extended, ScriptedModel& model) {
  model.text = [=](const std::string& prompt) -> std::string {
    if (prompt == "a photography of") return prompt + " " + words(count);
    const std::vector<std::string> starts = {"Provide", "Describe", "Write"};
    for (std::size_t i = 0; i < extended.size(); ++i) {
      if (prompt.starts_with(starts[i])) return extended[i];
    }
    return "";
  };
  DescriptionOptions options;
  options.multi_round = false;
  return model.describe(options);
}

TEST(ClassicDescription, ExtendsTextsOfUnderTenWords) {
  ScriptedModel model;
  extended(9, {}, model);
  ASSERT_EQ(model.calls.size(), 2u);
  const std::string c = capital(words(9));
  EXPECT_EQ(
      model.calls[1].prompts,
      (std::vector<std::string>{"Provide a comprehensive description of this image that shows " + c,
                                "Describe this image in detail, including " + c,
                                "Write a detailed paragraph about this image featuring " + c}));
  for (const GenerationConfig& config : model.calls[1].generation) {
    EXPECT_EQ(config.max_length, 200);
    EXPECT_EQ(config.num_beams, 6);
    EXPECT_EQ(config.temperature, 0.9);
    EXPECT_EQ(config.repetition_penalty, 1.5);
    EXPECT_TRUE(config.do_sample);
    EXPECT_EQ(config.length_penalty, 2.5);
    EXPECT_EQ(config.no_repeat_ngram_size, 3);
  }
}

TEST(ClassicDescription, DoesNotExtendTextsOfTenWords) {
  ScriptedModel model;
  EXPECT_EQ(extended(10, {words(40)}, model).text, capital(words(10)));
  EXPECT_EQ(model.calls.size(), 1u);
  ScriptedModel other = says({words(9)});
  DescriptionOptions options;
  options.multi_round = false;
  options.classic.extend_under_words = 9;
  other.describe(options);
  EXPECT_EQ(other.calls.size(), 1u) << "both thresholds hold";
}

TEST(ClassicDescription, ExtensionsNeedOverFiveMoreWordsAndTheLongestWins) {
  ScriptedModel model;
  EXPECT_EQ(extended(6, {"", words(11, "cat")}, model).text, capital(words(6)));
  EXPECT_EQ(extended(6, {"", words(12, "cat")}, model).text, capital(words(12, "cat")));
  EXPECT_EQ(extended(6, {words(12), words(11, "elephantine"), words(13, "d")}, model).text,
            capital(words(12)))
      << "in characters, among those that count";
}

TEST(ClassicDescription, ExtensionsLoseTheirPrompt) {
  ScriptedModel model;
  const std::string c = words(6);
  const Description description = extended(
      6,
      {"provide a comprehensive description of this image that shows " + c + " " + words(8, "cat")},
      model);
  EXPECT_EQ(description.text, capital(c) + " " + words(8, "cat"));
}

/// A model whose first text has 30 words, and whose later rounds each say `more` words more.
ScriptedModel growing(int more) {
  ScriptedModel model;
  model.text = [=](const std::string& prompt) -> std::string {
    const std::string ask = "Add more specific visual details to this description: ";
    if (!prompt.starts_with(ask)) return prompt + " " + words(30);
    const int now = static_cast<int>(count_words(prompt)) - 8;
    return "add more specific visual details to this description : " + words(now + more);
  };
  return model;
}

TEST(ClassicDescription, LaterRoundsAskForMore) {
  ScriptedModel model = growing(9);
  const Description description = model.describe();
  EXPECT_EQ(description.rounds, 3);
  ASSERT_EQ(model.calls.size(), 3u);
  const std::string ask = "Add more specific visual details to this description: ";
  EXPECT_EQ(model.calls[1].prompts, (std::vector<std::string>{ask + capital(words(30))}));
  EXPECT_EQ(model.calls[2].prompts, (std::vector<std::string>{ask + capital(words(39))}));
  EXPECT_EQ(description.text, capital(words(48)));
  const GenerationConfig& config = model.calls[1].generation[0];
  EXPECT_EQ(config.max_length, 250);
  EXPECT_EQ(config.num_beams, 7);
  EXPECT_EQ(config.temperature, 0.85);
  EXPECT_EQ(config.repetition_penalty, 1.6);
  EXPECT_TRUE(config.do_sample);
  EXPECT_EQ(config.length_penalty, 2.0);
  EXPECT_EQ(config.no_repeat_ngram_size, 4);
}

TEST(ClassicDescription, RoundsReplaceOnlyByOverEightMoreWords) {
  EXPECT_EQ(growing(8).describe().text, capital(words(30)));
}

TEST(ClassicDescription, DetailSetsTheRounds) {
  const std::pair<DetailLevel, int> levels[] = {{DetailLevel::high, 3},
                                                {DetailLevel::medium, 2},
                                                {DetailLevel::low, 1},
                                                {DetailLevel::off, 1}};
  for (const auto& [detail, rounds] : levels) {
    DescriptionOptions options;
    options.detail = detail;
    ScriptedModel model = growing(9);
    EXPECT_EQ(model.describe(options).rounds, rounds);
    EXPECT_EQ(model.calls.size(), static_cast<std::size_t>(rounds));
    options.multi_round = false;
    EXPECT_EQ(growing(9).describe(options).rounds, 1);
  }
}

TEST(ClassicDescription, EveryNumberIsAnOption) {
  DescriptionOptions options;
  options.classic.describe.prompts = {"my words for {current}it"};
  options.classic.describe.generation.num_beams = 2;
  options.classic.rounds.high = 1;
  options.classic.keep_over_characters = 3;
  options.classic.extend_under_words = options.classic.extend_prompts_under_words = 3;
  options.classic.extend_over_words = 0;
  ScriptedModel model;
  model.text = [](const std::string& prompt) -> std::string {
    return prompt == "my words for it" ? "my words for red dogs" : "red dogs run";
  };
  EXPECT_EQ(model.describe(options).text, "Red dogs run")
      << "a prompt's own words are dropped like the known phrases";
  EXPECT_EQ(model.calls[0].generation[0].num_beams, 2);
  EXPECT_EQ(model.calls[1].prompts[1], "Describe this image in detail, including Red dogs");
}

TEST(ClassicDescription, PromptsDrawFromTheirOwnStreams) {
  const auto seeds = [](std::uint64_t seed) {
    ScriptedModel model = growing(9);
    DescriptionOptions options;
    options.seed = seed;
    model.describe(options);
    std::vector<std::uint64_t> all;
    for (const ScriptedModel::Call& call : model.calls) {
      for (const GenerationConfig& config : call.generation) all.push_back(config.seed);
    }
    return all;
  };
  const std::vector<std::uint64_t> zero = seeds(0);
  const std::vector<std::uint64_t> one = seeds(1);
  EXPECT_EQ(zero, seeds(0));
  std::set<std::uint64_t> distinct(zero.begin(), zero.end());
  distinct.insert(one.begin(), one.end());
  EXPECT_EQ(distinct.size(), zero.size() + one.size());
}

TEST(ClassicDescription, ShortensWhatIsTooLongAndSaysSo) {
  ScriptedModel model = growing(200);
  const Description description = model.describe();
  ASSERT_EQ(model.calls.size(), 3u);
  // [DEC], 8 words of the prompt, and 221 of 230 words leave 20 of 250 tokens.
  EXPECT_EQ(count_words(model.calls[2].prompts[0]), 229u);
  EXPECT_TRUE(model.calls[2].prompts[0].ends_with(" " + words(221).substr(words(220).size() + 1)))
      << "the start is kept, to the end of a word";
  EXPECT_TRUE(description.prompt_shortened());
  EXPECT_FALSE(description.prompts[4].shortened);
  EXPECT_TRUE(description.prompts[5].shortened);
  EXPECT_FALSE(description.prompts[5].skipped);
}

TEST(ClassicDescription, SkipsAPromptThatLeavesNoRoom) {
  ScriptedModel model = growing(9);
  model.most_tokens = 29;  // 9 of them for the prompt alone, 20 to go on
  const Description description = model.describe();
  EXPECT_EQ(model.calls.size(), 1u);
  EXPECT_EQ(description.rounds, 1);
  ASSERT_EQ(description.prompts.size(), 5u);
  EXPECT_TRUE(description.prompts[4].skipped);
  EXPECT_TRUE(description.prompt_shortened());
  EXPECT_EQ(description.text, capital(words(30)));

  model.most_tokens = 30;
  model.calls.clear();
  const Description shortened = model.describe();
  EXPECT_EQ(model.calls.size(), 3u);
  EXPECT_TRUE(model.calls[1].prompts[0].ends_with("description: Dogaa"));
  EXPECT_FALSE(shortened.prompts[4].skipped);
}

TEST(ClassicDescription, LowersLengthsToTheModelsPositions) {
  ScriptedModel model = says({words(30)});
  model.most_tokens = 65;
  DescriptionOptions options = only_first();
  options.classic.describe.generation.min_length = 150;
  const Description description = model.describe(options);
  EXPECT_TRUE(description.length_limited);
  EXPECT_EQ(model.calls[0].generation[0].max_new_tokens, 61);  // after [DEC] and 3 words
  EXPECT_EQ(model.calls[0].generation[3].max_new_tokens, 59);
  EXPECT_EQ(model.calls[0].generation[0].min_length, 65);
  model.most_tokens = 150;
  EXPECT_FALSE(model.describe(options).length_limited);
}

TEST(Description, TellsHowFarItIs) {
  ScriptedModel model = growing(9);
  std::vector<std::string> events;
  model.describer().describe({}, {}, [&](const DescriptionProgress& p) {
    events.push_back(std::string(name(p.stage)) + " " + std::to_string(p.round) + "/" +
                     std::to_string(p.rounds) + " " + std::to_string(p.done) + "/" +
                     std::to_string(p.of) + " " + std::to_string(count_words(p.text)));
  });
  EXPECT_EQ(events,
            (std::vector<std::string>{"prompts 1/3 0/4 0", "prompts 1/3 4/4 30", "round 2/3 0/1 30",
                                      "round 2/3 1/1 39", "round 3/3 0/1 39", "round 3/3 1/1 48"}));
}

TEST(Description, TellsWhichPromptIsWritten) {
  ScriptedModel model = growing(9);
  model.watched = [&](const WritingListener& listener) {
    if (model.calls.size() != 1) return;
    for (const std::vector<double>& shares :
         std::vector<std::vector<double>>{{0.01, 0.01, 0.01, 0.01},
                                          {0.5, 0.5, 0.5, 0.1},
                                          {0.5, 0.5, 0.5, 0.2},
                                          {1, 0.5, 1, 0.22},
                                          {1, 1, 1, 1}})
      listener(shares);
  };
  std::vector<std::string> events;
  model.describer().describe(
      {}, {.detail = DetailLevel::medium}, [&](const DescriptionProgress& p) {
        events.push_back(std::to_string(p.done) + "/" + std::to_string(p.of) + " " +
                         std::to_string(std::lround(100 * p.share)) + "% " + std::string(p.prompt));
      });
  EXPECT_EQ(events, (std::vector<std::string>{
                        "0/4 0% a photography of", "0/4 40% a photography of",
                        "2/4 68% a detailed photography of", "4/4 100% ",
                        "0/1 0% Add more specific visual details to this description: {current}",
                        "1/1 100% "}));
}

TEST(Description, StopsOnRequest) {
  std::atomic<bool> stop = true;
  ScriptedModel model = growing(9);
  const auto describe = [&] {
    model.describer().describe({}, {},
                               [&](const DescriptionProgress& p) {
                                 if (p.stage == DescriptionStage::round) stop = true;
                               },
                               {.stop = &stop});
  };
  error_of(ErrorCode::cancelled, describe);
  EXPECT_TRUE(model.calls.empty());
  stop = false;
  error_of(ErrorCode::cancelled, describe);
  EXPECT_EQ(model.calls.size(), 1u);
}

TEST(Description, RefusesOptionsThatCannotBeRun) {
  const auto refused = [](const auto& change, std::size_t most_tokens = 100) {
    DescriptionOptions options;
    change(options);
    ScriptedModel model = growing(9);
    model.most_tokens = most_tokens;
    return error_of(ErrorCode::usage, [&] { model.describe(options); });
  };
  EXPECT_NE(refused([](auto& o) { o.classic.extend.generation.num_beams = 0; }).find("num_beams"),
            std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.classic.describe.prompts.clear(); }).find("none of"),
            std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.classic.rounds.low = 0; }).find("rounds"), std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.classic.refine_over_words = -1; }).find("refine_over_words"),
            std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.classic.least_new_tokens = 2000000000; }).find("least_new"),
            std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.classic.describe.prompts.resize(65); }).find("64 prompts"),
            std::string::npos);
  EXPECT_NE(refused([](auto&) {}, 4).find("limit of 4 tokens"), std::string::npos);
  const auto faithful = [&](const auto& change) {
    return refused([&](DescriptionOptions& o) {
      o.recipe = DescriptionRecipe::faithful;
      change(o.faithful);
    });
  };
  EXPECT_NE(faithful([](auto& o) { o.same_share = 1.5; }).find("same_share"), std::string::npos);
  EXPECT_NE(faithful([](auto& o) { o.samples.top_p = 2; }).find("top_p"), std::string::npos);
  EXPECT_NE(faithful([](auto& o) { o.prompts.clear(); }).find("none of"), std::string::npos);
}

TEST(Description, CatchesAModelThatLosesPrompts) {
  DescriptionModel model;
  model.caption = [](auto, auto, const Context&, const WritingListener&) {
    return std::vector<std::vector<Caption>>(3);
  };
  model.prompt_tokens = [](const std::string&) { return std::size_t{1}; };
  model.most_tokens = 100;
  error_of(ErrorCode::internal, [&] { Describer(model).describe({}); });
}

TEST(Polish, ReplacesTheText) {
  Description description;
  description.text = "a dog dog";
  polish(description, [](const std::string& text) { return " A dog.\n(" + text + ")\t"; });
  EXPECT_EQ(description.text, "A dog. (a dog dog)");
  EXPECT_EQ(description.unpolished, "a dog dog");
  EXPECT_EQ(description.polish_error, "");
}

TEST(Polish, FallsBackToTheTextAndSaysWhy) {
  const std::string replies[] = {"", " \n", "a\x1b[31mred", "\xff", std::string(16385, 'x')};
  for (const std::string& reply : replies) {
    Description description;
    description.text = "a dog";
    polish(description, [&](const std::string&) { return reply; });
    EXPECT_EQ(description.text, "a dog");
    EXPECT_FALSE(description.unpolished);
    EXPECT_NE(description.polish_error.find("plain text"), std::string::npos);
  }
  Description description;
  description.text = "a dog";
  polish(description,
         [](const std::string&) -> std::string { throw Error(ErrorCode::io, "nobody there"); });
  EXPECT_EQ(description.text, "a dog");
  EXPECT_EQ(description.polish_error, "nobody there");
  error_of(ErrorCode::cancelled, [&] {
    polish(description,
           [](const std::string&) -> std::string { throw Error(ErrorCode::cancelled, "stopped"); });
  });
}

}  // namespace
}  // namespace blip
