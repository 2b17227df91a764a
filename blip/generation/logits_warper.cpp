#include "blip/generation/logits_warper.h"

#include <algorithm>
#include <cmath>

#include "blip/generation/logits_processor.h"
#include "blip/generation/top_candidates.h"

namespace blip {

LogitsWarper::LogitsWarper(const GenerationConfig& config, int min_tokens_to_keep)
    : config_(config), min_tokens_to_keep_(static_cast<std::size_t>(min_tokens_to_keep)) {}

void LogitsWarper::warp(std::span<float> scores) {
  if (scores.empty()) return;
  if (config_.temperature != 1.0) {
    const float temperature = static_cast<float>(config_.temperature);
    for (float& score : scores) score /= temperature;
  }
  if (config_.top_k > 0) keep_top_k(scores);

  const bool top_p = config_.top_p < 1.0;
  const bool min_p = config_.min_p > 0.0;
  const bool typical = config_.typical_p < 1.0;
  const bool epsilon = config_.epsilon_cutoff > 0.0;
  const bool eta = config_.eta_cutoff > 0.0;
  if (!top_p && !min_p && !typical && !epsilon && !eta) return;
  gather(scores);
  if (left_.empty()) return;
  sort_by_score();
  if (top_p) keep_top_p(scores);
  if (min_p) keep_min_p(scores);
  if (typical) keep_typical(scores);
  if (epsilon) cut_epsilon(scores);
  if (eta) cut_eta(scores);
}

void LogitsWarper::keep_top_k(std::span<float> scores) {
  const std::size_t k = std::max(static_cast<std::size_t>(config_.top_k), min_tokens_to_keep_);
  if (k >= scores.size()) return;
  const float least = kth_largest(scores, k, scratch_);
  for (float& score : scores) score = score < least ? kRuledOut : score;
}

void LogitsWarper::keep_top_p(std::span<float> scores) {
  normalize();
  // The least probable tokens go while together they hold no more than the rest of the mass.
  const float rest = static_cast<float>(1.0 - config_.top_p);
  const std::size_t most = left_.size() - std::min(left_.size(), min_tokens_to_keep_);
  double mass = 0;
  std::size_t end = 0;
  for (; end < most; ++end) {
    mass += left_[end].probability;
    if (static_cast<float>(mass) > rest) break;
  }
  rule_out(0, end, scores);
}

void LogitsWarper::keep_min_p(std::span<float> scores) {
  normalize();
  const float least = static_cast<float>(config_.min_p) * left_.back().probability;
  const std::size_t most = left_.size() - std::min(left_.size(), min_tokens_to_keep_);
  std::size_t end = 0;
  while (end < most && left_[end].probability < least) ++end;
  rule_out(0, end, scores);
}

void LogitsWarper::keep_typical(std::span<float> scores) {
  const float entropy = normalize();
  for (Token& token : left_) token.oddness = std::abs(-token.log_probability - entropy);
  std::ranges::sort(left_, [](const Token& a, const Token& b) {
    return a.oddness < b.oddness || (a.oddness == b.oddness && a.id < b.id);
  });
  const float wanted = static_cast<float>(config_.typical_p);
  double mass = 0;
  std::size_t last = 0;
  for (; last + 1 < left_.size(); ++last) {
    mass += left_[last].probability;
    if (static_cast<float>(mass) >= wanted) break;
  }
  const float oddest = left_[last].oddness;
  std::size_t begin = std::min(left_.size(), std::max(min_tokens_to_keep_, last));
  while (begin < left_.size() && left_[begin].oddness <= oddest) ++begin;
  rule_out(begin, left_.size(), scores);
  sort_by_score();
}

void LogitsWarper::cut_epsilon(std::span<float> scores) {
  normalize();
  cut_below(static_cast<float>(config_.epsilon_cutoff), scores);
}

void LogitsWarper::cut_eta(std::span<float> scores) {
  const float entropy = normalize();
  const float epsilon = static_cast<float>(config_.eta_cutoff);
  cut_below(std::min(epsilon, std::sqrt(epsilon) * std::exp(-entropy)), scores);
}

void LogitsWarper::cut_below(float probability, std::span<float> scores) {
  const std::size_t keep = std::min(left_.size(), min_tokens_to_keep_);
  const float protected_score = left_[left_.size() - keep].score;
  std::size_t end = 0;
  while (left_[end].score < protected_score && left_[end].probability < probability) ++end;
  rule_out(0, end, scores);
}

void LogitsWarper::gather(std::span<const float> scores) {
  left_.clear();
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] > kRuledOut) left_.push_back({scores[i], static_cast<int>(i), 0, 0, 0});
  }
}

void LogitsWarper::sort_by_score() {
  std::ranges::sort(left_, [](const Token& a, const Token& b) {
    return a.score < b.score || (a.score == b.score && a.id < b.id);
  });
}

float LogitsWarper::normalize() {
  const auto by_score = [](const Token& a, const Token& b) { return a.score < b.score; };
  const float max = std::ranges::max_element(left_, by_score)->score;
  double sum = 0;
  for (Token& token : left_) {
    token.probability = std::exp(token.score - max);
    sum += token.probability;
  }
  const float total = static_cast<float>(sum);
  const float log_total = static_cast<float>(std::log(sum));
  double entropy = 0;
  for (Token& token : left_) {
    token.probability /= total;
    token.log_probability = (token.score - max) - log_total;
    entropy -= token.log_probability * token.probability;
  }
  return static_cast<float>(entropy);
}

void LogitsWarper::rule_out(std::size_t begin, std::size_t end, std::span<float> scores) {
  const auto from = left_.begin() + static_cast<std::ptrdiff_t>(begin);
  const auto to = left_.begin() + static_cast<std::ptrdiff_t>(end);
  for (auto token = from; token != to; ++token) {
    scores[static_cast<std::size_t>(token->id)] = kRuledOut;
  }
  left_.erase(from, to);
}

}  // namespace blip
