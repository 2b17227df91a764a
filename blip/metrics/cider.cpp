#include "blip/metrics/cider.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>
#include <unordered_set>

#include "blip/base/error.h"

namespace blip {
namespace {

constexpr double kSigma = 6;

/// A caption's n-grams, each with its count times its weight.
struct WeightedNgrams {
  double length = 0;  ///< in pairs of words: the reference counts these
  std::array<std::unordered_map<std::string, double>, kMaxNgram> weights;
  std::array<double, kMaxNgram> norms{};
};

WeightedNgrams weigh(const std::string& text, const DocumentFrequencies& frequencies) {
  const double log_pictures = std::log(static_cast<double>(frequencies.pictures()));
  const Ngrams ngrams = count_ngrams(text);
  WeightedNgrams weighted;
  weighted.length = ngrams.words > 1 ? static_cast<double>(ngrams.words - 1) : 0;
  for (std::size_t n = 0; n < kMaxNgram; ++n) {
    double squares = 0;
    for (const auto& [ngram, times] : ngrams.counts[n]) {
      const auto frequency = static_cast<double>(std::max<std::size_t>(frequencies[ngram], 1));
      const double weight = static_cast<double>(times) * (log_pictures - std::log(frequency));
      weighted.weights[n][ngram] = weight;
      squares += weight * weight;
    }
    weighted.norms[n] = std::sqrt(squares);
  }
  return weighted;
}

/// Mean over n of the cosine, in which a candidate's repeated n-grams are clipped, times a penalty
/// for another length.
double similarity(const WeightedNgrams& candidate, const WeightedNgrams& reference) {
  double sum = 0;
  for (std::size_t n = 0; n < kMaxNgram; ++n) {
    double product = 0;
    for (const auto& [ngram, weight] : candidate.weights[n]) {
      const auto found = reference.weights[n].find(ngram);
      if (found != reference.weights[n].end()) {
        product += std::min(weight, found->second) * found->second;
      }
    }
    const double norms = candidate.norms[n] * reference.norms[n];
    sum += norms > 0 ? product / norms : product;
  }
  const double difference = candidate.length - reference.length;
  return sum / kMaxNgram * std::exp(-difference * difference / (2 * kSigma * kSigma));
}

double score(const CaptionSample& sample, const DocumentFrequencies& frequencies) {
  if (sample.references.empty()) {
    throw Error(ErrorCode::usage, "a picture has no reference caption");
  }
  const WeightedNgrams candidate = weigh(sample.candidate, frequencies);
  double sum = 0;
  for (const std::string& text : sample.references) {
    sum += similarity(candidate, weigh(text, frequencies));
  }
  return 10 * sum / static_cast<double>(sample.references.size());
}

}  // namespace

void DocumentFrequencies::add(std::span<const std::string> references) {
  std::unordered_set<std::string> seen;
  for (const std::string& text : references) {
    for (const NgramCounts& counts : count_ngrams(text).counts) {
      for (const auto& [ngram, times] : counts) seen.insert(ngram);
    }
  }
  for (const std::string& ngram : seen) ++counts_[ngram];
  ++pictures_;
}

std::size_t DocumentFrequencies::operator[](const std::string& ngram) const {
  const auto found = counts_.find(ngram);
  return found == counts_.end() ? 0 : found->second;
}

DocumentFrequencies document_frequencies(std::span<const CaptionSample> samples) {
  DocumentFrequencies frequencies;
  for (const CaptionSample& sample : samples) frequencies.add(sample.references);
  return frequencies;
}

CorpusScore cider_d(std::span<const CaptionSample> samples,
                    const DocumentFrequencies& frequencies) {
  if (frequencies.pictures() == 0) {
    throw Error(ErrorCode::usage, "CIDEr needs document frequencies of at least one picture");
  }
  CorpusScore scores;
  double sum = 0;
  for (const CaptionSample& sample : samples) {
    scores.each.push_back(score(sample, frequencies));
    sum += scores.each.back();
  }
  if (!samples.empty()) scores.score = sum / static_cast<double>(samples.size());
  return scores;
}

}  // namespace blip
