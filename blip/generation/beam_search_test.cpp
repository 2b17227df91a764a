#include "blip/generation/beam_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>

#include "blip/base/random.h"
#include "blip/generation/fake_model_test.h"

namespace blip {
namespace {

constexpr double kNothing = -1e9;

// Log-probabilities in double.
std::vector<double> log_probs(const FakeModel& model, const std::vector<int>& ids) {
  const std::vector<float> logits = model.logits(ids);
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x));
  std::vector<double> result;
  for (const float x : logits) result.push_back(x - std::log(sum));
  return result;
}

struct Path {
  std::vector<int> ids;
  double sum;
  bool ended() const { return ids.back() == kEnd; }
};

struct Found {
  std::vector<Path> best;
  std::size_t steps;  ///< tokens that had to be looked at
};

bool better(const Path& a, const Path& b) {
  return a.sum > b.sum;
}

// Every continuation of every path, the best 2 * num_beams of them.
std::vector<Path> best_continuations(const FakeModel& model, const GenerationRequest& r,
                                     const std::vector<Path>& paths) {
  std::vector<Path> all;
  for (const Path& path : paths) {
    std::vector<float> scores;
    for (const double x : log_probs(model, path.ids)) scores.push_back(static_cast<float>(x));
    process_logits(r.config, {path.ids, static_cast<int>(r.prompt_ids.size()), kEnd}, scores);
    for (std::size_t token = 0; token < scores.size(); ++token) {
      Path next = path;
      next.ids.push_back(static_cast<int>(token));
      next.sum += scores[token];
      all.push_back(std::move(next));
    }
  }
  std::stable_sort(all.begin(), all.end(), better);
  all.resize(std::min(all.size(), static_cast<std::size_t>(2 * r.config.num_beams)));
  return all;
}

// Beam search as transformers 5 describes it, with nothing clever: `sum` of what it returns is the
// final score. Needs a vocabulary of at least 2 * num_beams.
Found naive_transformers(const FakeModel& model, const GenerationRequest& r) {
  const std::size_t beams = static_cast<std::size_t>(r.config.num_beams);
  const std::size_t max_length =
      r.prompt_ids.size() + static_cast<std::size_t>(*r.config.max_new_tokens);
  std::vector<Path> running = {{r.prompt_ids, 0}};
  std::vector<Path> finished;
  std::size_t steps = 0;
  for (;;) {
    ++steps;
    const std::vector<Path> candidates = best_continuations(model, r, running);
    const std::size_t length = candidates[0].ids.size();
    const auto scored = [&](double sum, std::size_t tokens) {
      return sum / std::pow(static_cast<double>(tokens), r.config.length_penalty);
    };
    running.clear();
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const bool hit = candidates[i].ended() || length == max_length;
      if (hit && i < beams) {
        finished.push_back(
            {candidates[i].ids, scored(candidates[i].sum, length - r.prompt_ids.size())});
      }
      if (!hit && running.size() < beams) running.push_back(candidates[i]);
    }
    std::stable_sort(finished.begin(), finished.end(), better);
    finished.resize(std::min(finished.size(), beams));
    if (length == max_length) break;
    const bool full = finished.size() == beams;
    if (full && r.config.early_stopping == EarlyStopping::yes) break;
    const bool never =
        r.config.early_stopping == EarlyStopping::never && r.config.length_penalty > 0;
    const double reachable =
        scored(running[0].sum, (never ? max_length : length) - r.prompt_ids.size());
    if (reachable <= (full ? finished.back().sum : kNothing)) break;
  }
  finished.resize(static_cast<std::size_t>(r.config.num_return_sequences));
  return {finished, steps};
}

// Beam search of transformers 4.15, the same way.
Found naive_authors(const FakeModel& model, const GenerationRequest& r) {
  const std::size_t beams = static_cast<std::size_t>(r.config.num_beams);
  const std::size_t max_length =
      r.prompt_ids.size() + static_cast<std::size_t>(*r.config.max_new_tokens);
  std::vector<Path> running = {{r.prompt_ids, 0}};
  std::vector<Path> finished;
  const auto keep = [&](const Path& path, std::size_t length) {
    finished.push_back(
        {path.ids, path.sum / std::pow(static_cast<double>(length), r.config.length_penalty)});
    std::stable_sort(finished.begin(), finished.end(), better);
    finished.resize(std::min(finished.size(), beams));
  };
  bool done = false;
  std::size_t steps = 0;
  while (!done && running[0].ids.size() < max_length) {
    ++steps;
    const std::size_t length = running[0].ids.size();
    const std::vector<Path> candidates = best_continuations(model, r, running);
    running.clear();
    for (std::size_t i = 0; i < candidates.size() && running.size() < beams; ++i) {
      if (!candidates[i].ended()) {
        running.push_back(candidates[i]);
      } else if (i < beams) {
        keep(candidates[i], length);
      }
    }
    const double reachable =
        candidates[0].sum / std::pow(static_cast<double>(length), r.config.length_penalty);
    done = finished.size() == beams &&
           (r.config.early_stopping == EarlyStopping::yes || finished.back().sum >= reachable);
  }
  if (!done) {
    for (const Path& path : running) keep(path, max_length);
  }
  finished.resize(static_cast<std::size_t>(r.config.num_return_sequences));
  return {finished, steps};
}

GenerationRequest random_request(Random& random) {
  const auto below = [&](int n) {
    return static_cast<int>(random.next() % static_cast<unsigned>(n));
  };
  GenerationRequest r;
  r.eos_id = kEnd;
  for (int i = below(12); i >= 0; --i) r.prompt_ids.push_back(below(20));
  GenerationConfig& c = r.config;
  c.max_new_tokens = 1 + below(9);
  c.num_beams = 2 + below(7);
  c.num_return_sequences = 1 + below(c.num_beams);
  c.length_penalty = below(9) / 2.0 - 1;
  c.early_stopping = static_cast<EarlyStopping>(below(3));
  if (below(3) == 0) c.repetition_penalty = 0.5 + below(4) * 0.5;
  if (below(3) == 0) c.no_repeat_ngram_size = 2 + below(2);
  if (below(3) == 0) c.min_length = below(static_cast<int>(r.prompt_ids.size()) + 2);
  return r;
}

using Naive = Found (*)(const FakeModel&, const GenerationRequest&);

void expect_agreement(BeamSemantics semantics, Naive naive) {
  Random random(semantics == BeamSemantics::authors ? 40 : 50);
  int ended = 0;
  int cut = 0;
  for (std::uint64_t trial = 0; trial < 400; ++trial) {
    const FakeModel model{.vocab_size = 20 + static_cast<int>(trial % 3) * 50,
                          .seed = trial,
                          .spread = 1.0f + static_cast<float>(trial % 5),
                          .favoured = kEnd,
                          .bonus = static_cast<float>(trial % 4)};
    GenerationRequest r = random_request(random);
    r.config.semantics = semantics;
    std::vector<std::size_t> rows;
    const std::vector<Hypothesis> results =
        generate(std::span(&r, 1), model.vocab_size, model.step(&rows)).front();
    const auto [expected, steps] = naive(model, r);
    EXPECT_EQ(rows.size(), steps) << "trial " << trial;
    ASSERT_EQ(results.size(), expected.size());
    for (std::size_t i = 0; i < results.size(); ++i) {
      const Hypothesis& h = results[i];
      ASSERT_EQ(h.ids, expected[i].ids) << "trial " << trial << " place " << i;
      EXPECT_NEAR(h.score, expected[i].sum, 1e-4 * (1 + std::abs(expected[i].sum)));
      EXPECT_EQ(h.finished, expected[i].ended());
      (h.finished ? ended : cut) += 1;
      const std::size_t prompt = r.prompt_ids.size();
      ASSERT_EQ(h.token_logprobs.size(), h.ids.size() - prompt);
      for (std::size_t j = prompt; j < h.ids.size(); ++j) {
        const std::vector<int> before(h.ids.begin(),
                                      h.ids.begin() + static_cast<std::ptrdiff_t>(j));
        EXPECT_NEAR(h.token_logprobs[j - prompt],
                    log_probs(model, before)[static_cast<std::size_t>(h.ids[j])], 2e-6);
      }
    }
  }
  EXPECT_GT(ended, 300);
  EXPECT_GT(cut, 100);
}

TEST(BeamSearch, AgreesWithANaiveTransformers5) {
  expect_agreement(BeamSemantics::transformers_5, naive_transformers);
}

TEST(BeamSearch, AgreesWithANaiveTransformers415) {
  expect_agreement(BeamSemantics::authors, naive_authors);
}

TEST(BeamSearch, EnoughBeamsFindTheBestOfAll) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const FakeModel model{.vocab_size = 4, .seed = seed, .favoured = kEnd, .bonus = 0.5f};
    Path best = {{}, kNothing};
    const std::function<void(const Path&)> explore = [&](const Path& path) {
      if (path.ids.size() == 4 || (path.ids.size() > 1 && path.ended())) {
        if (path.sum > best.sum) best = path;
        return;
      }
      const std::vector<double> next = log_probs(model, path.ids);
      for (int token = 0; token < 4; ++token) {
        Path longer = path;
        longer.ids.push_back(token);
        longer.sum += next[static_cast<std::size_t>(token)];
        explore(longer);
      }
    };
    explore({{1}, 0});
    GenerationRequest r;
    r.prompt_ids = {1};
    r.eos_id = kEnd;
    r.config.max_new_tokens = 3;
    r.config.num_beams = 64;  // above the vocabulary, and above all sequences
    r.config.length_penalty = 0;
    r.config.early_stopping = EarlyStopping::never;
    const Hypothesis found = generate_one(model, r).front();
    EXPECT_EQ(found.ids, best.ids);
    EXPECT_NEAR(found.score, best.sum, 1e-5);
  }
}

// A model that knows the probabilities of tokens 0, 1, 2 = [SEP], 3 after each sequence it is asked
// about.
StepFunction table_step(const std::map<std::vector<int>, std::vector<double>>& table) {
  return [&table, before = std::vector<std::vector<int>>()](std::span<const StepRow> rows,
                                                            std::span<float> logits) mutable {
    std::vector<std::vector<int>> now;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      std::vector<int> ids;
      if (rows[i].parent >= 0) ids = before.at(static_cast<std::size_t>(rows[i].parent));
      ids.insert(ids.end(), rows[i].tokens.begin(), rows[i].tokens.end());
      const auto found = table.find(ids);
      for (std::size_t t = 0; t < 4; ++t) {
        const double p = found == table.end() ? 0.25 : found->second[t];
        logits[i * 4 + t] = static_cast<float>(std::log(p));
      }
      now.push_back(std::move(ids));
    }
    before = std::move(now);
  };
}

TEST(BeamSearch, AnEndBeyondTheFirstBeamsDoesNotCount) {
  const std::map<std::vector<int>, std::vector<double>> table = {{{3}, {0.4, 0.3, 0.2, 0.1}}};
  for (const BeamSemantics semantics : {BeamSemantics::transformers_5, BeamSemantics::authors}) {
    GenerationRequest r;
    r.prompt_ids = {3};
    r.eos_id = kEnd;
    r.config.max_new_tokens = 2;
    r.config.num_beams = 2;
    r.config.num_return_sequences = 2;
    r.config.length_penalty = 0;  // [SEP] alone, with 0.2, would be the best of all
    r.config.semantics = semantics;
    const auto results = generate(std::span(&r, 1), 4, table_step(table)).front();
    ASSERT_EQ(results.size(), 2u);
    for (const Hypothesis& h : results) EXPECT_EQ(h.ids.size(), 3u);
    EXPECT_NEAR(results[0].score, std::log(0.1), 1e-5);
  }
}

TEST(BeamSearch, TheTwoSemanticsDisagreeOnThePrompt) {
  // After a long prompt [SEP] at once (0.5) against two tokens (0.4 * 0.9): with the prompt in the
  // length both are divided by nearly the same, so the likelier one wins.
  std::vector<int> prompt(10, 3);
  std::vector<int> longer = prompt;
  longer.push_back(0);
  const std::map<std::vector<int>, std::vector<double>> table = {{prompt, {0.4, 0.05, 0.5, 0.05}},
                                                                 {longer, {0.04, 0.03, 0.9, 0.03}}};
  GenerationRequest r;
  r.prompt_ids = prompt;
  r.eos_id = kEnd;
  r.config.max_new_tokens = 5;
  r.config.num_beams = 2;
  Hypothesis h = generate(std::span(&r, 1), 4, table_step(table)).front().front();
  EXPECT_EQ(h.ids.size(), 12u);
  EXPECT_NEAR(h.score, std::log(0.4 * 0.9) / 2, 1e-5);
  r.config.semantics = BeamSemantics::authors;
  h = generate(std::span(&r, 1), 4, table_step(table)).front().front();
  EXPECT_EQ(h.ids.size(), 11u);
  EXPECT_TRUE(h.finished);
  EXPECT_NEAR(h.score, std::log(0.5) / 10, 1e-5);
}

TEST(BeamSearch, EarlyStoppingDecidesHowLongItLooks) {
  int sooner = 0;
  int later = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const FakeModel model{.vocab_size = 30, .seed = seed, .favoured = kEnd, .bonus = 2};
    GenerationRequest r;
    r.prompt_ids = {1};
    r.eos_id = kEnd;
    r.config.max_new_tokens = 12;
    r.config.num_beams = 3;
    std::map<EarlyStopping, std::size_t> steps;
    std::map<EarlyStopping, double> score;
    for (const EarlyStopping e : {EarlyStopping::yes, EarlyStopping::no, EarlyStopping::never}) {
      r.config.early_stopping = e;
      std::vector<std::size_t> rows;
      score[e] = generate(std::span(&r, 1), 30, model.step(&rows)).front().front().score;
      steps[e] = rows.size();
      EXPECT_EQ(rows.front(), 1u);
    }
    EXPECT_LE(steps[EarlyStopping::yes], steps[EarlyStopping::no]);
    EXPECT_LE(steps[EarlyStopping::no], steps[EarlyStopping::never]);
    EXPECT_LE(score[EarlyStopping::yes], score[EarlyStopping::no]);
    EXPECT_LE(score[EarlyStopping::no], score[EarlyStopping::never]);
    sooner += steps[EarlyStopping::yes] < steps[EarlyStopping::no] ? 1 : 0;
    later += steps[EarlyStopping::no] < steps[EarlyStopping::never] ? 1 : 0;
  }
  EXPECT_GT(sooner, 0);
  EXPECT_GT(later, 0);
}

TEST(BeamSearch, ForcedPrefixLeadsEveryBeam) {
  const FakeModel model{.vocab_size = 30, .seed = 3, .favoured = kEnd, .bonus = -3};
  for (const BeamSemantics semantics : {BeamSemantics::transformers_5, BeamSemantics::authors}) {
    GenerationRequest r;
    r.prompt_ids = {1};
    r.eos_id = kEnd;
    r.config.max_new_tokens = 6;
    r.config.num_beams = 4;
    r.config.num_return_sequences = 4;
    r.config.forced_prefix_ids = {9, 8};
    r.config.semantics = semantics;
    const std::vector<Hypothesis> results = generate_one(model, r);
    ASSERT_EQ(results.size(), 4u);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(results[i].ids[1], 9);
      EXPECT_EQ(results[i].ids[2], 8);
      EXPECT_NEAR(results[i].token_logprobs[0], log_probs(model, {1})[9], 1e-5);
      EXPECT_GT(results[i].score, -100);
      if (i > 0) {
        EXPECT_NE(results[i].ids, results[i - 1].ids);
      }
    }
  }
}

TEST(BeamSearch, ReturnsFewerWhereNoMoreExist) {
  for (const BeamSemantics semantics : {BeamSemantics::transformers_5, BeamSemantics::authors}) {
    const FakeModel model{.vocab_size = 3};
    GenerationRequest r;
    r.prompt_ids = {1};
    r.eos_id = kEnd;
    r.config.max_new_tokens = 1;
    r.config.num_beams = 8;
    r.config.num_return_sequences = 8;
    r.config.bad_words_ids = {{0}, {1}};
    r.config.semantics = semantics;
    const std::vector<Hypothesis> results = generate_one(model, r);
    ASSERT_GE(results.size(), 1u);
    EXPECT_EQ(results.front().ids, (std::vector<int>{1, kEnd}));
    for (const Hypothesis& h : results) EXPECT_EQ(h.ids, results.front().ids);
  }
}

TEST(BeamSampling, TheSeedDecidesAndScoresAreHonest) {
  const FakeModel model{.vocab_size = 40, .seed = 6, .favoured = kEnd, .bonus = 1};
  for (const BeamSemantics semantics : {BeamSemantics::transformers_5, BeamSemantics::authors}) {
    GenerationRequest r;
    r.prompt_ids = {1};
    r.eos_id = kEnd;
    r.config.max_new_tokens = 8;
    r.config.num_beams = 3;
    r.config.num_return_sequences = 3;
    r.config.do_sample = true;
    r.config.length_penalty = 0;
    r.config.semantics = semantics;
    const std::vector<Hypothesis> first = generate_one(model, r);
    const std::vector<Hypothesis> again = generate_one(model, r);
    ASSERT_EQ(first.size(), 3u);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(first[i].ids, again[i].ids);
      double sum = 0;
      for (const float logprob : first[i].token_logprobs) sum += logprob;
      EXPECT_NEAR(first[i].score, sum, 1e-4);
      if (i > 0) {
        EXPECT_LE(first[i].score, first[i - 1].score);
      }
    }
    std::map<std::vector<int>, int> seen;
    for (r.config.seed = 0; r.config.seed < 20; ++r.config.seed) {
      ++seen[generate_one(model, r).front().ids];
    }
    EXPECT_GT(seen.size(), 5u);
    r.config.top_k = 1;  // two tokens stay, from which six candidates are drawn
    EXPECT_EQ(generate_one(model, r).size(), 3u);
  }
}

}  // namespace
}  // namespace blip
