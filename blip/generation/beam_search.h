#pragma once

#include <memory>
#include <vector>

#include "blip/base/random.h"
#include "blip/generation/row_scorer.h"
#include "blip/generation/search.h"
#include "blip/generation/top_candidates.h"

namespace blip {

/// Beam search and, with do_sample, beam sampling: what both semantics share. From 2 * num_beams
/// candidates per step, derived classes choose what is finished, what goes on and when to end.
class BeamSearch : public Search {
 public:
  std::span<const Row> rows() override;
  void advance(std::span<const float> logits) override;
  bool done() const override { return done_; }
  std::span<const int> leader() const override { return beams_.front().ids; }

 protected:
  /// `max_length` counts the whole sequence.
  BeamSearch(const GenerationRequest& request, int max_length, int vocab_size);

  struct Beam {
    std::vector<int> ids;
    std::vector<float> token_logprobs;
    float score = 0;  ///< sum of the processed scores of its tokens
    int parent = -1;  ///< row of the step before
  };
  /// A beam that goes on: it appends a candidate.
  struct Successor {
    float score;
    const Candidate* candidate;
  };

  /// Records what `candidates` (best first, or as drawn) finish and appends num_beams successors,
  /// best first; or calls end().
  virtual void choose(std::span<const Candidate> candidates,
                      std::vector<Successor>& successors) = 0;

  void end() { done_ = true; }
  bool ends(const Candidate& candidate) const { return candidate.token == eos_id_; }
  const std::vector<Beam>& beams() const { return beams_; }
  const GenerationConfig& config() const { return config_; }
  std::size_t num_beams() const { return static_cast<std::size_t>(config_.num_beams); }
  /// Tokens of every beam, prompt included.
  std::size_t length() const { return beams_.front().ids.size(); }
  std::size_t prompt_length() const { return prompt_length_; }
  std::size_t max_length() const { return max_length_; }
  /// The sequence of a beam, with or without a candidate appended.
  Hypothesis hypothesis(const Beam& beam, double score) const;
  Hypothesis hypothesis(const Candidate& candidate, double score) const;

 private:
  void collect_candidates(std::span<const float> logits);
  void extend_beams(std::span<const Successor> successors);
  float log_prob(const Candidate& candidate) const;
  std::size_t row_of(std::size_t beam) const { return first_ ? 0 : beam; }

  GenerationConfig config_;
  int eos_id_;
  std::size_t prompt_length_;
  std::size_t max_length_;
  std::size_t vocab_size_;
  RowScorer scorer_;
  Random random_;
  TopCandidates candidates_;
  std::vector<Beam> beams_;
  std::vector<Beam> next_beams_;
  std::vector<Row> rows_;
  std::vector<Successor> successors_;
  std::vector<LogNormalizer> normalizers_;  ///< per row of this step
  std::span<const float> logits_;           ///< of this step
  bool first_ = true;                       ///< all beams still share the prompt's row
  bool done_ = false;
};

/// A search of the config's semantics.
std::unique_ptr<Search> make_beam_search(const GenerationRequest& request, int max_length,
                                         int vocab_size);

}  // namespace blip
