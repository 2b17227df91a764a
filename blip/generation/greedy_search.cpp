#include "blip/generation/greedy_search.h"

#include <cmath>
#include <numeric>

#include "blip/base/error.h"
#include "blip/generation/logits_processor.h"

namespace blip {
namespace {

// A token drawn from the softmax of `scores`; -1 when all are ruled out.
int draw(std::span<const float> scores, Random& random) {
  const LogNormalizer normalizer = log_normalizer(scores);
  if (std::isnan(normalizer.log_sum)) return -1;
  double left = random.uniform() * std::exp(static_cast<double>(normalizer.log_sum));
  int last = -1;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] == kRuledOut) continue;
    last = static_cast<int>(i);
    left -= exp_nonpositive(clamp_exponent(scores[i] - normalizer.max));
    if (left < 0) break;
  }
  return last;
}

}  // namespace

GreedySearch::GreedySearch(const GenerationRequest& request, int max_length, int vocab_size)
    : eos_id_(request.eos_id),
      max_length_(static_cast<std::size_t>(max_length)),
      vocab_size_(static_cast<std::size_t>(vocab_size)),
      do_sample_(request.config.do_sample),
      scorer_(request, vocab_size) {
  const auto count = static_cast<std::size_t>(request.config.num_return_sequences);
  Hypothesis prompt;
  prompt.ids = request.prompt_ids;
  prompt.prompt_length = static_cast<int>(request.prompt_ids.size());
  sequences_.assign(count, prompt);
  for (std::size_t i = 0; i < count; ++i)
    streams_.emplace_back(stream_seed(request.config.seed, i));
  active_.resize(count);
  std::iota(active_.begin(), active_.end(), std::size_t{0});
}

std::span<const Search::Row> GreedySearch::rows() {
  rows_.clear();
  if (!done() && parents_.empty()) rows_.push_back({-1, sequences_.front().ids});
  for (std::size_t i = 0; i < parents_.size(); ++i) {
    const std::span<const int> ids = sequences_[active_[i]].ids;
    rows_.push_back({parents_[i], ids.last(1)});
  }
  return rows_;
}

void GreedySearch::advance(std::span<const float> logits) {
  const bool first = parents_.empty();  // all sequences still share the prompt's row
  const std::size_t row_count = first ? 1 : active_.size();
  if (done() || logits.size() != row_count * vocab_size_) {
    throw Error(ErrorCode::internal, "a search must be given the logits of the rows it asked for");
  }
  std::size_t still_active = 0;  // the first ones of active_
  parents_.clear();
  std::span<const float> scores;
  for (std::size_t i = 0; i < active_.size(); ++i) {
    const std::size_t row = first ? 0 : i;
    const std::span<const float> row_logits = logits.subspan(row * vocab_size_, vocab_size_);
    Hypothesis& sequence = sequences_[active_[i]];
    if (i == row) scores = scorer_.score(row_logits, sequence.ids);
    const int token = choose(scores, streams_[active_[i]], sequence.ids.size());
    append(sequence, token,
           scorer_.normalizer().log_prob(row_logits[static_cast<std::size_t>(token)]));
    if (sequence.finished || sequence.ids.size() >= max_length_) continue;
    active_[still_active++] = active_[i];
    parents_.push_back(static_cast<int>(row));
  }
  active_.resize(still_active);
}

int GreedySearch::choose(std::span<const float> scores, Random& random, std::size_t length) {
  int token = -1;
  if (do_sample_) {
    token = draw(scores, random);
  } else {
    top_.clear();
    top_.offer(0, 0.0f, scores);
    if (top_.best().front().score > kRuledOut) token = top_.best().front().token;
  }
  if (token < 0) throw_nothing_allowed(length);
  return token;
}

void GreedySearch::append(Hypothesis& sequence, int token, float logprob) const {
  sequence.ids.push_back(token);
  sequence.token_logprobs.push_back(logprob);
  sequence.score += logprob;
  sequence.finished = token == eos_id_;
}

}  // namespace blip
