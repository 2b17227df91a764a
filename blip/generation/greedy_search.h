#pragma once

#include <vector>

#include "blip/base/random.h"
#include "blip/generation/row_scorer.h"
#include "blip/generation/search.h"
#include "blip/generation/top_candidates.h"

namespace blip {

/// Search without beams: takes the most probable token, or with do_sample draws one, for each of
/// num_return_sequences sequences that know nothing of each other.
class GreedySearch final : public Search {
 public:
  /// `max_length` counts the whole sequence.
  GreedySearch(const GenerationRequest& request, int max_length, int vocab_size);

  std::span<const Row> rows() override;
  void advance(std::span<const float> logits) override;
  bool done() const override { return active_.empty(); }
  std::span<const int> leader() const override { return sequences_.front().ids; }
  std::vector<Hypothesis> results() const override { return sequences_; }

 private:
  int choose(std::span<const float> scores, Random& random, std::size_t length);
  void append(Hypothesis& sequence, int token, float logprob) const;

  int eos_id_;
  std::size_t max_length_;
  std::size_t vocab_size_;
  bool do_sample_;
  RowScorer scorer_;
  TopCandidates top_{1};
  std::vector<Hypothesis> sequences_;
  std::vector<Random> streams_;      ///< one per sequence
  std::vector<std::size_t> active_;  ///< sequences that go on: those of the next rows
  std::vector<int> parents_;  ///< row of the step before, per active sequence; empty at first
  std::vector<Row> rows_;
};

}  // namespace blip
