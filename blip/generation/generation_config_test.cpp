#include "blip/generation/generation_config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <string>

#include "blip/base/error.h"
#include "blip/generation/generation_json.h"

namespace blip {
namespace {

using Change = std::function<void(GenerationConfig&)>;

// The message of the usage error that `change` causes; "" when it is accepted.
std::string complaint(const Change& change) {
  GenerationConfig config;
  change(config);
  try {
    validate(config);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.what();
  }
  return "";
}

TEST(Validate, AcceptsDefaultsAndLimits) {
  const Change good[] = {
      [](auto&) {},
      [](auto& c) { c.max_length = 1, c.min_length = 1; },
      [](auto& c) { c.max_new_tokens = 3, c.min_new_tokens = 3; },
      [](auto& c) { c.max_length = 5, c.min_length = 9, c.max_new_tokens = 20; },
      [](auto& c) { c.num_beams = 256, c.num_return_sequences = 256; },
      [](auto& c) { c.do_sample = true, c.num_return_sequences = 9; },
      [](auto& c) { c.do_sample = true, c.top_p = 0, c.min_p = 1, c.top_k = 0; },
      [](auto& c) { c.length_penalty = -10; },
      [](auto& c) {
        c.bad_words_ids = {{0}, {1, 2}}, c.forced_prefix_ids = {0};
      },
  };
  for (const Change& change : good) EXPECT_EQ(complaint(change), "");
}

TEST(Validate, NamesTheFieldOfABadValue) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const struct {
    const char* field;
    Change change;
  } bad[] = {
      {"max_length", [](auto& c) { c.max_length = 0; }},
      {"max_new_tokens", [](auto& c) { c.max_new_tokens = 0; }},
      {"min_length", [](auto& c) { c.min_length = -1; }},
      {"min_length", [](auto& c) { c.min_length = 6, c.max_length = 5; }},
      {"min_new_tokens", [](auto& c) { c.min_new_tokens = -1; }},
      {"min_new_tokens", [](auto& c) { c.min_new_tokens = 6, c.max_new_tokens = 5; }},
      {"num_beams", [](auto& c) { c.num_beams = 0; }},
      {"num_beams", [](auto& c) { c.num_beams = 257; }},
      {"num_return_sequences", [](auto& c) { c.num_return_sequences = 0; }},
      {"num_return_sequences", [](auto& c) { c.num_return_sequences = 2; }},
      {"num_return_sequences", [](auto& c) { c.num_return_sequences = 4, c.num_beams = 3; }},
      {"num_return_sequences",
       [](auto& c) { c.num_return_sequences = 4, c.num_beams = 3, c.do_sample = true; }},
      {"num_return_sequences",
       [](auto& c) { c.num_return_sequences = 1 << 30, c.do_sample = true; }},
      {"length_penalty", [](auto& c) { c.length_penalty = 11; }},
      {"length_penalty", [=](auto& c) { c.length_penalty = nan; }},
      {"temperature", [](auto& c) { c.temperature = 0; }},
      {"temperature", [](auto& c) { c.temperature = -1; }},
      {"temperature", [=](auto& c) { c.temperature = nan; }},
      {"top_k", [](auto& c) { c.top_k = -1; }},
      {"top_p", [](auto& c) { c.top_p = 1.1; }},
      {"top_p", [=](auto& c) { c.top_p = nan; }},
      {"min_p", [](auto& c) { c.min_p = -0.1; }},
      {"typical_p", [](auto& c) { c.typical_p = 0; }},
      {"epsilon_cutoff", [](auto& c) { c.epsilon_cutoff = 1; }},
      {"eta_cutoff", [](auto& c) { c.eta_cutoff = -0.1; }},
      {"repetition_penalty", [](auto& c) { c.repetition_penalty = 0; }},
      {"repetition_penalty", [](auto& c) { c.repetition_penalty = 1e300; }},
      {"no_repeat_ngram_size", [](auto& c) { c.no_repeat_ngram_size = -1; }},
      {"bad_words_ids", [](auto& c) { c.bad_words_ids = {{}}; }},
      {"bad_words_ids",
       [](auto& c) {
         c.bad_words_ids = {{3, -1}};
       }},
      {"forced_prefix_ids", [](auto& c) { c.forced_prefix_ids = {-1}; }},
  };
  for (const auto& entry : bad) {
    const char* const field = entry.field;
    const Change& change = entry.change;
    const bool sampling =
        std::set<std::string>{"temperature", "top_k",          "top_p",     "min_p",
                              "typical_p",   "epsilon_cutoff", "eta_cutoff"}
            .contains(field);
    if (sampling) {
      EXPECT_EQ(complaint(change), "") << field << " is not read without do_sample";
    }
    const std::string message = complaint([&](GenerationConfig& c) {
      c.do_sample = sampling;
      change(c);
    });
    EXPECT_TRUE(message.starts_with(std::string(field) + " must be ")) << field << ": " << message;
  }
}

TEST(UpdateFromJson, ReadsEveryField) {
  Json json;
  GenerationConfig config;
  std::set<std::string> names;
  for_each_field(config, [&](const char* name, auto& field, const char* help) {
    EXPECT_NE(std::string(help), "");
    EXPECT_TRUE(names.insert(name).second);
    using Field = std::remove_cvref_t<decltype(field)>;
    if constexpr (std::is_same_v<Field, EarlyStopping>) {
      json[name] = "never";
    } else if constexpr (std::is_same_v<Field, bool>) {
      json[name] = true;
    } else {
      json[name] = 7;
    }
  });
  json["bos_token_id"] = "is not ours";
  update_from_json(config, json);
  for_each_field(config, [](const char* name, auto& field, const char*) {
    using Field = std::remove_cvref_t<decltype(field)>;
    if constexpr (std::is_same_v<Field, EarlyStopping>) {
      EXPECT_EQ(field, EarlyStopping::never);
    } else if constexpr (std::is_same_v<Field, bool>) {
      EXPECT_TRUE(field) << name;
    } else {
      EXPECT_EQ(field, Field(7)) << name;
    }
  });
}

TEST(UpdateFromJson, KeepsWhatIsNullOrAbsent) {
  GenerationConfig config;
  config.max_length = 33;
  config.num_beams = 4;
  update_from_json(config, parse_json(R"({"max_length": null, "early_stopping": true})", "test"));
  EXPECT_EQ(config.max_length, 33);
  EXPECT_EQ(config.num_beams, 4);
  EXPECT_EQ(config.early_stopping, EarlyStopping::yes);
  update_from_json(config, parse_json(R"({"early_stopping": false})", "test"));
  EXPECT_EQ(config.early_stopping, EarlyStopping::no);
}

TEST(UpdateFromJson, NamesTheKeyOfAWrongType) {
  const char* const bad[] = {
      R"({"num_beams": "3"})",
      R"({"num_beams": 3.5})",
      R"({"num_beams": 4294967297})",
      R"({"num_beams": 18446744073709551615})",
      R"({"num_beams": -2147483649})",
      R"({"max_length": true})",
      R"({"seed": -1})",
      R"({"seed": 1.0})",
      R"({"temperature": "hot"})",
      R"({"do_sample": 1})",
      R"({"early_stopping": "soon"})",
      R"({"early_stopping": 0})",
      R"({"top_p": [1]})",
  };
  for (const char* text : bad) {
    const Json json = parse_json(text, "test");
    GenerationConfig config;
    try {
      update_from_json(config, json);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_model);
      EXPECT_NE(std::string(error.what()).find(json.begin().key()), std::string::npos) << text;
    }
  }
  GenerationConfig config;
  update_from_json(config, parse_json(R"({"seed": 18446744073709551615})", "test"));
  EXPECT_EQ(config.seed, std::numeric_limits<std::uint64_t>::max());
}

}  // namespace
}  // namespace blip
