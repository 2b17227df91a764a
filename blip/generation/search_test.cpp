#include "blip/generation/search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "blip/base/error.h"
#include "blip/generation/fake_model_test.h"
#include "blip/generation/softmax.h"

namespace blip {
namespace {

GenerationRequest request(std::vector<int> prompt, int max_new_tokens) {
  GenerationRequest r;
  r.prompt_ids = std::move(prompt);
  r.config.max_new_tokens = max_new_tokens;
  r.eos_id = kEnd;
  return r;
}

// The usage (or other) error of running `r` on a model of 10 tokens.
std::string complaint(const GenerationRequest& r, ErrorCode expected = ErrorCode::usage) {
  try {
    generate_one(FakeModel(), r);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), expected) << error.what();
    return error.what();
  }
  return "";
}

void expect_equal(const Hypothesis& a, const Hypothesis& b) {
  EXPECT_EQ(a.ids, b.ids);
  EXPECT_EQ(a.prompt_length, b.prompt_length);
  EXPECT_EQ(a.token_logprobs, b.token_logprobs);
  EXPECT_EQ(a.score, b.score);
  EXPECT_EQ(a.finished, b.finished);
}

TEST(GreedySearch, WalksTheArgmax) {
  int ended = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const FakeModel model{.vocab_size = 30, .seed = seed, .favoured = kEnd, .bonus = 0.5f};
    const Hypothesis h = generate_one(model, request({5, 1}, 8)).front();
    std::vector<int> ids = {5, 1};
    double score = 0;
    while (ids.size() < 10 && (ids.size() == 2 || ids.back() != kEnd)) {
      std::vector<float> logits = model.logits(ids);
      ids.push_back(
          static_cast<int>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
      log_softmax(logits);
      const float logprob = logits[static_cast<std::size_t>(ids.back())];
      EXPECT_NEAR(h.token_logprobs.at(ids.size() - 3), logprob, 1e-6);
      score += logprob;
    }
    EXPECT_EQ(h.ids, ids);
    EXPECT_EQ(h.prompt_length, 2);
    EXPECT_EQ(h.token_logprobs.size(), ids.size() - 2);
    EXPECT_NEAR(h.score, score, 1e-4);
    EXPECT_EQ(h.finished, ids.back() == kEnd);
    ended += h.finished ? 1 : 0;
  }
  EXPECT_GT(ended, 10);
  EXPECT_LT(ended, 90);
}

TEST(GreedySearch, LengthLimits) {
  const FakeModel model{.favoured = kEnd, .bonus = -100};
  GenerationRequest r = request({1, 3, 4}, 1);
  EXPECT_EQ(generate_one(model, r).front().ids.size(), 4u);
  r.config.max_new_tokens.reset();
  EXPECT_EQ(generate_one(model, r).front().ids.size(), 23u) << "20 new tokens by default";
  r.config.max_length = 4;
  EXPECT_EQ(generate_one(model, r).front().ids.size(), 4u);
  r.config.max_new_tokens = 6;
  EXPECT_EQ(generate_one(model, r).front().ids.size(), 9u) << "max_new_tokens wins";
  EXPECT_FALSE(generate_one(model, r).front().finished);
}

TEST(GreedySearch, EndsAtOnceUnlessForbidden) {
  const FakeModel model{.favoured = kEnd, .bonus = 100};
  GenerationRequest r = request({kEnd}, 9);  // an end in the prompt is no end
  EXPECT_EQ(generate_one(model, r).front().ids, (std::vector<int>{kEnd, kEnd}));
  EXPECT_TRUE(generate_one(model, r).front().finished);
  r.config.min_length = 4;
  EXPECT_EQ(generate_one(model, r).front().ids.size(), 5u);
  r.config.min_new_tokens = 2;
  EXPECT_EQ(generate_one(model, r).front().ids.size(), 4u);
}

TEST(GreedySearch, OptionsActOnTheTokens) {
  const FakeModel model{.spread = 0.5f, .favoured = 7, .bonus = 4};
  GenerationRequest r = request({1}, 6);
  const std::vector<int> all_favoured = {1, 7, 7, 7, 7, 7, 7};
  EXPECT_EQ(generate_one(model, r).front().ids, all_favoured);
  r.config.temperature = -5;  // sampling's options are not read
  r.config.top_k = 1;
  r.config.top_p = 0;
  EXPECT_EQ(generate_one(model, r).front().ids, all_favoured);

  const auto sevens = [&](const GenerationConfig& config) {
    GenerationRequest changed = r;
    changed.config = config;
    const std::vector<int> ids = generate_one(model, changed).front().ids;
    return std::count(ids.begin(), ids.end(), 7);
  };
  GenerationConfig config = r.config;
  config.no_repeat_ngram_size = 1;
  EXPECT_EQ(sevens(config), 1);
  config.no_repeat_ngram_size = 3;
  EXPECT_EQ(sevens(config), 5);
  config = r.config;
  config.repetition_penalty = 100;
  EXPECT_LT(sevens(config), 6);
  config = r.config;
  config.bad_words_ids = {{7}};
  EXPECT_EQ(sevens(config), 0);
  config.bad_words_ids = {{7, 7}};
  EXPECT_EQ(sevens(config), 3);
  config.bad_words_ids.clear();
  config.forced_prefix_ids = {3, 9};
  r.config = config;
  const Hypothesis forced = generate_one(model, r).front();
  EXPECT_EQ(forced.ids, (std::vector<int>{1, 3, 9, 7, 7, 7, 7}));
  EXPECT_LT(forced.token_logprobs[0], -3) << "the model's own opinion of a forced token";
}

TEST(Sampling, TheSeedDecides) {
  const FakeModel model{.vocab_size = 50, .seed = 4, .favoured = kEnd, .bonus = -9};
  GenerationRequest r = request({1}, 10);
  r.config.do_sample = true;
  r.config.num_return_sequences = 5;
  const std::vector<Hypothesis> first = generate_one(model, r);
  ASSERT_EQ(first.size(), 5u);
  const std::vector<Hypothesis> again = generate_one(model, r);
  for (std::size_t i = 0; i < 5; ++i) expect_equal(first[i], again[i]);
  for (std::size_t i = 1; i < 5; ++i) EXPECT_NE(first[0].ids, first[i].ids);
  r.config.seed = 1;
  EXPECT_NE(generate_one(model, r)[0].ids, first[0].ids);
  r.config.seed = 0;
  r.config.num_return_sequences = 2;
  expect_equal(generate_one(model, r)[1], first[1]);
  r.config.top_k = 1;
  const Hypothesis best = generate_one(model, r).front();
  r.config = request({1}, 10).config;
  expect_equal(best, generate_one(model, r).front());
}

TEST(Sampling, SequencesThatEndLeaveTheOthersAlone) {
  const FakeModel model{.vocab_size = 12, .seed = 8, .favoured = kEnd, .bonus = 2};
  GenerationRequest r = request({1}, 12);
  r.config.do_sample = true;
  r.config.num_return_sequences = 40;
  std::vector<std::size_t> rows;
  const auto results = generate(std::span(&r, 1), 12, model.step(&rows)).front();
  EXPECT_EQ(rows.front(), 1u) << "the prompt is computed once";
  EXPECT_EQ(rows.at(1), static_cast<std::size_t>(std::ranges::count_if(
                            results, [](const Hypothesis& h) { return h.ids.size() > 2; })));
  EXPECT_LT(rows.back(), rows.at(1));
  for (const Hypothesis& h : results) {
    for (std::size_t i = 1; i < h.ids.size(); ++i) {
      std::vector<float> logits = model.logits(std::span(h.ids).first(i));
      log_softmax(logits);
      EXPECT_NEAR(h.token_logprobs.at(i - 1), logits[static_cast<std::size_t>(h.ids[i])], 1e-6);
    }
    EXPECT_EQ(std::ranges::find(h.ids, kEnd) == h.ids.end() - 1, h.finished);
  }
}

TEST(Sampling, FollowsTheDistribution) {
  const FakeModel model{.vocab_size = 12, .seed = 21, .spread = 2};
  GenerationRequest r = request({1}, 1);
  r.config.do_sample = true;
  r.config.top_k = 6;
  r.config.temperature = 1.5;
  r.config.num_return_sequences = 250;
  std::vector<float> expected = model.logits(r.prompt_ids);
  for (float& x : expected) x /= 1.5f;
  std::vector<float> sorted = expected;
  std::sort(sorted.begin(), sorted.end());
  for (float& x : expected) x = x < sorted[6] ? -std::numeric_limits<float>::infinity() : x;
  log_softmax(expected);
  std::vector<double> seen(12, 0);
  constexpr int kRounds = 40;
  for (r.config.seed = 0; r.config.seed < kRounds; ++r.config.seed) {
    for (const Hypothesis& h : generate_one(model, r)) ++seen[static_cast<std::size_t>(h.ids[1])];
  }
  double chi_square = 0;
  for (std::size_t i = 0; i < 12; ++i) {
    const double count = 250 * kRounds * std::exp(static_cast<double>(expected[i]));
    if (count == 0) {
      EXPECT_EQ(seen[i], 0);
    } else {
      chi_square += (seen[i] - count) * (seen[i] - count) / count;
    }
  }
  EXPECT_LT(chi_square, 20.5);  // 5 degrees of freedom, one in a thousand
}

TEST(Generate, NeighboursDoNotMatter) {
  const FakeModel model{.vocab_size = 40, .seed = 17, .favoured = kEnd, .bonus = 1.5f};
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 24; ++i) {
    GenerationRequest r = request({1 + i / 6, 3}, 3 + i);
    if (i % 3 == 0) r.prompt_ids.push_back(i);
    r.config.num_beams = 1 + i % 4;
    r.config.do_sample = i % 5 < 2;
    r.config.num_return_sequences = r.config.num_beams > 1 ? 1 + i % 2 : 1 + 2 * (i % 5 < 2);
    if (i % 7 == 0) r.config.semantics = BeamSemantics::authors;
    requests.push_back(r);
  }
  const auto together = generate(requests, 40, model.step());
  ASSERT_EQ(together.size(), requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const std::vector<Hypothesis> alone = generate_one(model, requests[i]);
    ASSERT_EQ(together[i].size(), alone.size());
    for (std::size_t j = 0; j < alone.size(); ++j) expect_equal(together[i][j], alone[j]);
  }
}

TEST(Generate, NothingToDoAsksForNothing) {
  const StepFunction never = [](auto, auto) { FAIL(); };
  EXPECT_TRUE(blip::generate({}, 10, never).empty());
}

TEST(Generate, RejectsWhatCannotRun) {
  EXPECT_EQ(complaint(request({}, 5)), "a prompt must have at least 1 token, but is empty");
  GenerationRequest r = request({1, 1, 1}, 5);
  r.config.max_new_tokens.reset();
  r.config.max_length = 3;
  EXPECT_EQ(complaint(r), "max_length must be above the prompt's 3 tokens, but is 3");
  r.config.max_length = 4;
  EXPECT_EQ(complaint(r), "");
  r.config.min_new_tokens = 2;
  EXPECT_NE(complaint(r), "");
  r = request({1, 1}, std::numeric_limits<int>::max());
  r.config.forced_prefix_ids = {kEnd};
  EXPECT_EQ(complaint(r), "") << "no overflow";
  r = request({1}, 5);
  r.config.min_length = 7;
  EXPECT_NE(complaint(r).find("min_length"), std::string::npos);
  r = request({1}, 5);
  r.config.num_beams = 0;
  EXPECT_NE(complaint(r).find("num_beams"), std::string::npos);
  r = request({1}, 5);
  r.config.forced_prefix_ids = {10};
  EXPECT_NE(complaint(r).find("forced_prefix_ids"), std::string::npos);
  r = request({1}, 5);
  r.config.bad_words_ids = {{1}, {2, 10}};
  EXPECT_NE(complaint(r).find("bad_words_ids"), std::string::npos);
  EXPECT_THROW(make_search(request({1}, 5), 1), Error);
}

TEST(Generate, ReportsWhenNothingIsAllowed) {
  for (const int beams : {1, 3}) {
    for (const bool sample : {false, true}) {
      GenerationRequest r = request({1}, 30);
      r.config.num_beams = beams;
      r.config.do_sample = sample;
      r.config.no_repeat_ngram_size = 1;
      r.config.bad_words_ids = {{3}};
      r.config.min_length = 31;
      EXPECT_EQ(complaint(r),
                "the generation options must leave a token to choose, but forbid every one after "
                "8 tokens");
    }
  }
}

TEST(Generate, ReportsNanAndInfiniteLogits) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const int beams : {1, 2}) {
      std::vector<GenerationRequest> requests = {request({1}, 5), request({1}, 5)};
      for (GenerationRequest& r : requests) r.config.num_beams = beams;
      const StepFunction step = [&](std::span<const StepRow>, std::span<float> logits) {
        std::ranges::fill(logits, 0.0f);
        logits.back() = bad;
      };
      try {
        generate(requests, 10, step);
        ADD_FAILURE();
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::bad_model);
      }
    }
  }
}

TEST(Generate, StopsOnRequestAndPassesErrorsOn) {
  const FakeModel model{.favoured = kEnd, .bonus = -100};
  std::atomic<bool> stop = false;
  int calls = 0;
  StepFunction inner = model.step();
  const StepFunction step = [&](std::span<const StepRow> rows, std::span<float> logits) {
    inner(rows, logits);
    if (++calls == 3) stop = true;
  };
  const GenerationRequest r = request({1}, 50);
  const Context context{.num_threads = 2, .stop = &stop};
  try {
    generate(std::span(&r, 1), 10, step, context);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::cancelled);
  }
  EXPECT_EQ(calls, 3);
  const StepFunction broken = [](auto, auto) { throw std::domain_error("no"); };
  EXPECT_THROW(generate(std::span(&r, 1), 10, broken), std::domain_error);
}

TEST(Search, RefusesLogitsItDidNotAskFor) {
  for (const int beams : {1, 2}) {
    GenerationRequest r = request({1}, 1);
    r.config.num_beams = beams;
    const auto search = make_search(r, 10);
    EXPECT_EQ(search->rows().size(), 1u);
    const std::vector<float> logits(20, 0.0f);
    EXPECT_THROW(search->advance(logits), Error);
    search->advance(std::span(logits).first(10));
    EXPECT_TRUE(search->done());
    EXPECT_TRUE(search->rows().empty());
    EXPECT_THROW(search->advance(std::span(logits).first(10)), Error);
    EXPECT_EQ(search->results().size(), 1u);
  }
}

std::vector<int> ids_of(const std::vector<Hypothesis>& results) {
  return results.front().ids;
}

TEST(GenerationBatch, OthersJoinAndAreGivenUpWithoutTrace) {
  const FakeModel model{.vocab_size = 10};
  for (const int beams : {1, 3}) {
    std::vector<GenerationRequest> requests = {request({1}, 30), request({2, 4}, 12),
                                               request({3}, 40)};
    for (GenerationRequest& r : requests) r.config.num_beams = beams;
    GenerationBatch batch(model.vocab_size);
    EXPECT_TRUE(batch.idle());
    const StepFunction step = model.step();
    EXPECT_EQ(batch.add(requests[0]), 0u);
    EXPECT_EQ(batch.add(requests[1]), 1u);
    EXPECT_EQ(batch.prompt_length(1), 2u);
    for (int i = 0; i < 4; ++i) batch.step(step, {});
    EXPECT_EQ(batch.leader(1).size(), 6u);
    EXPECT_FALSE(batch.done(1));
    batch.remove(1);
    EXPECT_EQ(batch.add(requests[2]), 2u);
    while (!batch.idle()) batch.step(step, {});
    for (const std::size_t id : {0, 2}) {
      EXPECT_EQ(ids_of(batch.take_results(id)), ids_of(generate_one(model, requests[id]))) << id;
      EXPECT_THROW(batch.take_results(id), std::out_of_range);
    }
    batch.step(step, {});
    EXPECT_EQ(batch.rows(), 0u);
  }
}

TEST(GenerationBatch, OneThatFailsHarmsNoOther) {
  const FakeModel model{.vocab_size = 10};
  GenerationBatch batch(model.vocab_size);
  const GenerationRequest sound = request({1}, 20);
  GenerationRequest impossible = request({1}, 20);
  for (int id = 0; id < 10; ++id) impossible.config.bad_words_ids.push_back({id});
  impossible.config.min_length = 10;  // nor may it end
  EXPECT_THROW(batch.add(request({}, 20)), Error);
  batch.add(impossible);
  batch.add(sound);
  const StepFunction step = model.step();
  while (!batch.idle()) batch.step(step, {});
  EXPECT_THROW(batch.take_results(0), Error);
  EXPECT_EQ(ids_of(batch.take_results(1)), ids_of(generate_one(model, sound)));
}

}  // namespace
}  // namespace blip
