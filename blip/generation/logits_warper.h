#pragma once

#include <span>
#include <vector>

#include "blip/generation/generation_config.h"

namespace blip {

/// Sampling's warpers, in transformers' order: temperature, top_k, top_p, min_p, typical_p,
/// epsilon_cutoff, eta_cutoff. Keeps its scratch; one thread at a time.
class LogitsWarper {
 public:
  /// At least `min_tokens_to_keep` tokens stay: 1 when sampling, 2 in beam sampling.
  LogitsWarper(const GenerationConfig& config, int min_tokens_to_keep);

  /// In place. Tokens ruled out become -inf.
  void warp(std::span<float> scores);

 private:
  struct Token {
    float score;
    int id;
    float log_probability;  ///< among the tokens that are left
    float probability;
    float oddness;  ///< typical_p: distance of its information from the entropy
  };

  void keep_top_k(std::span<float> scores);
  void keep_top_p(std::span<float> scores);
  void keep_min_p(std::span<float> scores);
  void keep_typical(std::span<float> scores);
  void cut_epsilon(std::span<float> scores);
  void cut_eta(std::span<float> scores);
  void cut_below(float probability, std::span<float> scores);

  /// Collects what is not ruled out, least probable first.
  void gather(std::span<const float> scores);
  void sort_by_score();
  /// Fills in every token's probability; returns the entropy.
  float normalize();
  void rule_out(std::size_t begin, std::size_t end, std::span<float> scores);

  GenerationConfig config_;
  std::size_t min_tokens_to_keep_;
  std::vector<Token> left_;
  std::vector<float> scratch_;
};

}  // namespace blip
