#include "blip/generation/search.h"

#include <algorithm>
#include <limits>
#include <string>

#include "blip/base/error.h"
#include "blip/generation/beam_search.h"
#include "blip/generation/greedy_search.h"

namespace blip {
namespace {

constexpr int kDefaultNewTokens = 20;

}  // namespace

std::int64_t length_limit(const GenerationConfig& config, std::int64_t prompt) {
  if (config.max_length && !config.max_new_tokens) return *config.max_length;
  return prompt + config.max_new_tokens.value_or(kDefaultNewTokens);
}

int max_sequence_length(const GenerationRequest& request) {
  const GenerationConfig& config = request.config;
  const auto prompt = static_cast<std::int64_t>(request.prompt_ids.size());
  const std::int64_t limit =
      std::min<std::int64_t>(length_limit(config, prompt), std::numeric_limits<int>::max());
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

std::size_t GenerationBatch::add(const GenerationRequest& request) {
  std::unique_ptr<Search> search = make_search(request, vocab_size_);
  running_[next_id_] = {std::move(search), request.prompt_ids.size()};
  return next_id_++;
}

void GenerationBatch::step(const StepFunction& step, const Context& context) {
  const ThreadScope threads(context);
  context.check_stop();
  lay_out();
  if (rows_.empty()) return;
  const std::size_t needed = rows_.size() * static_cast<std::size_t>(vocab_size_);
  if (logits_.size() < needed) logits_ = FloatBuffer(needed);
  const std::span<float> logits = logits_.span().first(needed);
  step(rows_, logits);
  advance(logits);
}

bool GenerationBatch::idle() const {
  return std::all_of(running_.begin(), running_.end(),
                     [](const auto& entry) { return entry.second.done(); });
}

bool GenerationBatch::done(std::size_t id) const {
  return running_.at(id).done();
}

std::span<const int> GenerationBatch::leader(std::size_t id) const {
  return running_.at(id).search->leader();
}

std::vector<Hypothesis> GenerationBatch::take_results(std::size_t id) {
  Running r = std::move(running_.at(id));
  running_.erase(id);
  if (r.error) std::rethrow_exception(r.error);
  return std::move(r.results);
}

// Asks every search for its rows and lays them out one after the other.
void GenerationBatch::lay_out() {
  rows_.clear();
  stepping_.clear();
  for (auto& [id, r] : running_) {
    if (r.done()) continue;
    stepping_.push_back(&r);
    const std::span<const Search::Row> rows = r.search->rows();
    const std::size_t first_row = rows_.size();
    for (const Search::Row& row : rows) {
      const int parent = row.parent < 0 ? -1 : static_cast<int>(r.first_row) + row.parent;
      rows_.push_back({static_cast<int>(id), parent, row.tokens});
    }
    r.first_row = first_row;
    r.row_count = rows.size();
  }
}

void GenerationBatch::advance(std::span<const float> logits) {
  const auto vocabulary = static_cast<std::size_t>(vocab_size_);
  const auto count = static_cast<std::int64_t>(stepping_.size());
#pragma omp parallel for schedule(dynamic) if (count > 1)
  for (std::int64_t i = 0; i < count; ++i) {
    Running& r = *stepping_[static_cast<std::size_t>(i)];
    try {
      r.search->advance(logits.subspan(r.first_row * vocabulary, r.row_count * vocabulary));
      if (!r.search->done()) continue;
      r.results = r.search->results();
    } catch (...) {  // may not leave a parallel region
      r.error = std::current_exception();
    }
    r.search.reset();
  }
}

std::vector<std::vector<Hypothesis>> generate(std::span<const GenerationRequest> requests,
                                              int vocab_size, const StepFunction& step,
                                              const Context& context) {
  GenerationBatch batch(vocab_size);
  for (const GenerationRequest& request : requests) batch.add(request);
  while (!batch.idle()) batch.step(step, context);
  std::vector<std::vector<Hypothesis>> results;
  for (std::size_t i = 0; i < requests.size(); ++i) results.push_back(batch.take_results(i));
  return results;
}

}  // namespace blip
