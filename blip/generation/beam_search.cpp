#include "blip/generation/beam_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "blip/base/error.h"
#include "blip/generation/logits_processor.h"

namespace blip {
namespace {

// Score of what does not exist yet: beams beside the first before the first token, empty places
// among the finished. Finite in both references, which shows where few tokens are allowed.
constexpr float kNothing = -1e9f;

}  // namespace

BeamSearch::BeamSearch(const GenerationRequest& request, int max_length, int vocab_size)
    : config_(request.config),
      eos_id_(request.eos_id),
      prompt_length_(request.prompt_ids.size()),
      max_length_(static_cast<std::size_t>(max_length)),
      vocab_size_(static_cast<std::size_t>(vocab_size)),
      scorer_(request, vocab_size),
      random_(request.config.seed),
      candidates_(2 * num_beams()),
      beams_(num_beams()) {
  for (Beam& beam : beams_) {
    beam.ids = request.prompt_ids;
    beam.score = kNothing;
  }
  beams_.front().score = 0;
}

std::span<const Search::Row> BeamSearch::rows() {
  rows_.clear();
  if (done_) return rows_;
  if (first_) {
    rows_.push_back({-1, beams_.front().ids});
    return rows_;
  }
  for (const Beam& beam : beams_) {
    rows_.push_back({beam.parent, std::span<const int>(beam.ids).last(1)});
  }
  return rows_;
}

void BeamSearch::advance(std::span<const float> logits) {
  const std::size_t row_count = first_ ? 1 : beams_.size();
  if (done_ || logits.size() != row_count * vocab_size_) {
    throw Error(ErrorCode::internal, "a search must be given the logits of the rows it asked for");
  }
  logits_ = logits;
  collect_candidates(logits);
  successors_.clear();
  if (candidates_.best().front().score == kRuledOut) {
    end();  // nothing is allowed after any beam
  } else {
    choose(candidates_.best(), successors_);
  }
  if (done_) {
    if (results().empty()) throw_nothing_allowed(length());
    return;
  }
  extend_beams(successors_);
  first_ = false;
}

void BeamSearch::collect_candidates(std::span<const float> logits) {
  candidates_.clear();
  normalizers_.clear();
  std::span<const float> scores;
  for (std::size_t i = 0; i < beams_.size(); ++i) {
    if (row_of(i) == normalizers_.size()) {
      scores = scorer_.score(logits.subspan(row_of(i) * vocab_size_, vocab_size_), beams_[i].ids);
      normalizers_.push_back(scorer_.normalizer());
    }
    const int beam = static_cast<int>(i);
    if (config_.do_sample) {
      candidates_.offer_drawn(beam, beams_[i].score, scores, random_);
    } else {
      candidates_.offer(beam, beams_[i].score, scores);
    }
  }
}

float BeamSearch::log_prob(const Candidate& candidate) const {
  const std::size_t row = row_of(static_cast<std::size_t>(candidate.beam));
  const std::size_t token = static_cast<std::size_t>(candidate.token);
  return normalizers_[row].log_prob(logits_[row * vocab_size_ + token]);
}

void BeamSearch::extend_beams(std::span<const Successor> successors) {
  next_beams_.resize(successors.size());
  for (std::size_t i = 0; i < successors.size(); ++i) {
    const Candidate& candidate = *successors[i].candidate;
    const std::size_t from = static_cast<std::size_t>(candidate.beam);
    Beam& beam = next_beams_[i];
    beam = beams_[from];  // copies into memory that the beam already has
    beam.ids.push_back(candidate.token);
    beam.token_logprobs.push_back(log_prob(candidate));
    beam.score = successors[i].score;
    beam.parent = static_cast<int>(row_of(from));
  }
  beams_.swap(next_beams_);
}

Hypothesis BeamSearch::hypothesis(const Beam& beam, double score) const {
  return {beam.ids, static_cast<int>(prompt_length_), beam.token_logprobs, score,
          beam.ids.back() == eos_id_};
}

Hypothesis BeamSearch::hypothesis(const Candidate& candidate, double score) const {
  Hypothesis result = hypothesis(beams_[static_cast<std::size_t>(candidate.beam)], score);
  result.ids.push_back(candidate.token);
  result.token_logprobs.push_back(log_prob(candidate));
  result.finished = ends(candidate);
  return result;
}

namespace {

// transformers 5 (GenerationMixin._beam_search), in its float32 arithmetic.
class TransformersBeamSearch final : public BeamSearch {
 public:
  TransformersBeamSearch(const GenerationRequest& request, int max_length, int vocab_size)
      : BeamSearch(request, max_length, vocab_size) {}

  std::vector<Hypothesis> results() const override {
    const auto count = static_cast<std::size_t>(config().num_return_sequences);
    return {finished_.begin(),
            finished_.begin() + static_cast<std::ptrdiff_t>(std::min(count, finished_.size()))};
  }

 private:
  void choose(std::span<const Candidate> candidates, std::vector<Successor>& successors) override {
    const std::size_t new_tokens = length() + 1 - prompt_length();
    const bool at_limit = length() + 1 >= max_length();
    const float divisor = penalty(new_tokens);
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const bool hit = at_limit || ends(candidates[i]);
      // What lies beyond the first num_beams is there only to go on, never to finish.
      if (hit && i < num_beams()) keep(candidates[i], candidates[i].score / divisor);
      successors.push_back({candidates[i].score + (hit ? kNothing : 0.0f), &candidates[i]});
    }
    // Of equals the first candidate first; std::stable_sort would take memory for that.
    std::ranges::sort(successors, [](const Successor& a, const Successor& b) {
      return a.score != b.score ? a.score > b.score : a.candidate < b.candidate;
    });
    successors.resize(num_beams());
    const bool full = finished_.size() == num_beams();
    if (at_limit || (full && config().early_stopping == EarlyStopping::yes) ||
        !may_improve(successors.front().score, new_tokens)) {
      end();
    }
  }

  void keep(const Candidate& candidate, float score) {
    const bool full = finished_.size() == num_beams();
    if (!(score > (full ? static_cast<float>(finished_.back().score) : kNothing))) return;
    if (full) finished_.pop_back();
    const auto place = std::ranges::upper_bound(finished_, static_cast<double>(score),
                                                std::greater<>(), &Hypothesis::score);
    finished_.insert(place, hypothesis(candidate, score));
  }

  bool may_improve(float best_running, std::size_t new_tokens) const {
    const bool longest =
        config().early_stopping == EarlyStopping::never && config().length_penalty > 0;
    const float reachable =
        best_running / penalty(longest ? max_length() - prompt_length() : new_tokens);
    const bool full = finished_.size() == num_beams();
    return reachable > (full ? static_cast<float>(finished_.back().score) : kNothing);
  }

  float penalty(std::size_t new_tokens) const {
    const double exact = std::pow(static_cast<double>(new_tokens), config().length_penalty);
    return static_cast<float>(std::clamp<double>(exact, std::numeric_limits<float>::min(),
                                                 std::numeric_limits<float>::max()));
  }

  std::vector<Hypothesis> finished_;  // best first, at most num_beams
};

// transformers 4.15 (BeamSearchScorer), which the authors ran, in its double arithmetic.
class AuthorsBeamSearch final : public BeamSearch {
 public:
  AuthorsBeamSearch(const GenerationRequest& request, int max_length, int vocab_size)
      : BeamSearch(request, max_length, vocab_size) {}

  std::vector<Hypothesis> results() const override {
    std::vector<Hypothesis> best(finished_.rbegin(), finished_.rend());
    const auto count = static_cast<std::size_t>(config().num_return_sequences);
    if (best.size() > count) best.resize(count);
    return best;
  }

 private:
  void choose(std::span<const Candidate> candidates, std::vector<Successor>& successors) override {
    float best_sum = -std::numeric_limits<float>::infinity();
    for (const Candidate& candidate : candidates) best_sum = std::max(best_sum, candidate.score);
    for (std::size_t i = 0; i < candidates.size() && successors.size() < num_beams(); ++i) {
      const Candidate& candidate = candidates[i];
      if (!ends(candidate)) {
        successors.push_back({candidate.score, &candidate});
      } else if (i < num_beams()) {
        // [SEP] is appended, but its place is not counted.
        keep(hypothesis(candidate, candidate.score / penalty(length())));
      }
    }
    if (finished_.size() == num_beams() &&
        (config().early_stopping == EarlyStopping::yes ||
         finished_.front().score >= best_sum / penalty(length()))) {
      end();
    } else if (length() + 1 >= max_length()) {
      for (const Successor& successor : successors) {
        keep(hypothesis(*successor.candidate, successor.score / penalty(max_length())));
      }
      end();
    }
  }

  void keep(Hypothesis candidate) {
    if (!std::isfinite(candidate.score)) return;
    if (finished_.size() == num_beams()) {
      if (candidate.score <= finished_.front().score) return;
      finished_.erase(finished_.begin());
    }
    const auto place = std::ranges::upper_bound(finished_, candidate.score, {}, &Hypothesis::score);
    finished_.insert(place, std::move(candidate));
  }

  double penalty(std::size_t tokens) const {
    return std::pow(static_cast<double>(tokens), config().length_penalty);
  }

  std::vector<Hypothesis> finished_;  // worst first, at most num_beams
};

}  // namespace

std::unique_ptr<Search> make_beam_search(const GenerationRequest& request, int max_length,
                                         int vocab_size) {
  if (request.config.semantics == BeamSemantics::authors) {
    return std::make_unique<AuthorsBeamSearch>(request, max_length, vocab_size);
  }
  return std::make_unique<TransformersBeamSearch>(request, max_length, vocab_size);
}

}  // namespace blip
