#include "blip/generation/search.h"

#include <algorithm>
#include <exception>
#include <limits>
#include <string>

#include "blip/base/error.h"
#include "blip/base/tensor.h"
#include "blip/generation/beam_search.h"
#include "blip/generation/greedy_search.h"

namespace blip {
namespace {

constexpr int kDefaultNewTokens = 20;

}  // namespace

int max_sequence_length(const GenerationRequest& request) {
  const GenerationConfig& config = request.config;
  const auto prompt = static_cast<std::int64_t>(request.prompt_ids.size());
  std::int64_t limit = prompt + config.max_new_tokens.value_or(kDefaultNewTokens);
  if (config.max_length && !config.max_new_tokens) limit = *config.max_length;
  limit = std::min<std::int64_t>(limit, std::numeric_limits<int>::max());
  if (prompt >= limit) {
    throw Error(ErrorCode::usage, "max_length must be above the prompt's " +
                                      std::to_string(prompt) + " tokens, but is " +
                                      std::to_string(limit));
  }
  const std::int64_t minimum =
      config.min_new_tokens ? prompt + *config.min_new_tokens : config.min_length;
  if (minimum > limit) {
    throw Error(ErrorCode::usage,
                std::string(config.min_new_tokens ? "min_new_tokens" : "min_length") +
                    " must be within the limit of " + std::to_string(limit) +
                    " tokens in all, but asks for " + std::to_string(minimum));
  }
  return static_cast<int>(limit);
}

namespace {

void check_ids(std::span<const int> ids, const char* field, int vocab_size) {
  for (const int id : ids) {
    if (id < vocab_size) continue;
    throw Error(ErrorCode::usage, std::string(field) + " must hold ids below the vocabulary's " +
                                      std::to_string(vocab_size) + ", but holds " +
                                      std::to_string(id));
  }
}

// A search and where its rows lay in the step before.
struct Running {
  std::unique_ptr<Search> search;
  std::size_t first_row = 0;
  std::size_t row_count = 0;
  std::exception_ptr error;
};

// Asks every search for its rows and lays them out one after the other.
void lay_out(std::vector<Running>& running, std::vector<StepRow>& step_rows) {
  step_rows.clear();
  for (std::size_t request = 0; request < running.size(); ++request) {
    Running& r = running[request];
    if (r.search == nullptr) continue;
    const std::vector<Search::Row> rows = r.search->rows();
    const std::size_t first_row = step_rows.size();
    for (const Search::Row& row : rows) {
      const int parent = row.parent < 0 ? -1 : static_cast<int>(r.first_row) + row.parent;
      step_rows.push_back({static_cast<int>(request), parent, row.tokens});
    }
    r.first_row = first_row;
    r.row_count = rows.size();
  }
}

// Exceptions may not leave a parallel region; the first request's one is thrown after it.
void advance_all(std::vector<Running>& running, std::span<const float> logits,
                 std::size_t vocab_size) {
  const auto count = static_cast<std::int64_t>(running.size());
#pragma omp parallel for schedule(dynamic) if (count > 1)
  for (std::int64_t i = 0; i < count; ++i) {
    Running& r = running[static_cast<std::size_t>(i)];
    if (r.search == nullptr) continue;
    try {
      r.search->advance(logits.subspan(r.first_row * vocab_size, r.row_count * vocab_size));
    } catch (...) {
      r.error = std::current_exception();
    }
  }
  for (const Running& r : running) {
    if (r.error) std::rethrow_exception(r.error);
  }
}

}  // namespace

std::unique_ptr<Search> make_search(const GenerationRequest& request, int vocab_size) {
  validate(request.config);
  if (vocab_size < 2) {
    throw Error(ErrorCode::internal,
                "a vocabulary must have at least 2 tokens, but has " + std::to_string(vocab_size));
  }
  if (request.prompt_ids.empty()) {
    throw Error(ErrorCode::usage, "a prompt must have at least 1 token, but is empty");
  }
  check_ids(request.config.forced_prefix_ids, "forced_prefix_ids", vocab_size);
  for (const std::vector<int>& word : request.config.bad_words_ids) {
    check_ids(word, "bad_words_ids", vocab_size);
  }
  const int max_length = max_sequence_length(request);
  if (request.config.num_beams > 1) return make_beam_search(request, max_length, vocab_size);
  return std::make_unique<GreedySearch>(request, max_length, vocab_size);
}

std::vector<std::vector<Hypothesis>> generate(std::span<const GenerationRequest> requests,
                                              int vocab_size, const StepFunction& step,
                                              const Context& context) {
  const ThreadScope threads(context);
  std::vector<Running> running;
  for (const GenerationRequest& request : requests) {
    running.push_back({make_search(request, vocab_size), 0, 0, nullptr});
  }
  const auto vocabulary = static_cast<std::size_t>(vocab_size);
  std::vector<std::vector<Hypothesis>> results(requests.size());
  std::vector<StepRow> rows;
  FloatBuffer buffer;
  for (;;) {
    context.check_stop();
    lay_out(running, rows);
    if (rows.empty()) return results;
    const std::size_t needed = rows.size() * vocabulary;
    if (buffer.size() < needed) buffer = FloatBuffer(needed);
    const std::span<float> logits = buffer.span().first(needed);
    step(rows, logits);
    advance_all(running, logits, vocabulary);
    for (std::size_t i = 0; i < running.size(); ++i) {
      if (running[i].search == nullptr || !running[i].search->done()) continue;
      results[i] = running[i].search->results();
      running[i].search.reset();  // its scratch is of no use to the others
    }
  }
}

}  // namespace blip
