#include "blip/metrics/bleu.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "blip/base/error.h"

namespace blip {
namespace {

/// What BLEU needs to know of a picture, or, added up, of a corpus.
struct Counts {
  std::size_t length = 0;
  std::size_t reference_length = 0;
  std::array<std::size_t, kMaxNgram> guessed{};
  std::array<std::size_t, kMaxNgram> correct{};

  void add(const Counts& other) {
    length += other.length;
    reference_length += other.reference_length;
    for (std::size_t n = 0; n < kMaxNgram; ++n) {
      guessed[n] += other.guessed[n];
      correct[n] += other.correct[n];
    }
  }
};

/// The length nearest to `length`; of two as near, the shorter.
std::size_t closest(std::span<const Ngrams> references, std::size_t length) {
  std::pair<std::size_t, std::size_t> best{SIZE_MAX, 0};
  for (const Ngrams& reference : references) {
    const std::size_t words = reference.words;
    best = std::min(best, {words > length ? words - length : length - words, words});
  }
  return best.second;
}

Counts count(const CaptionSample& sample) {
  if (sample.references.empty()) {
    throw Error(ErrorCode::usage, "a picture has no reference caption");
  }
  std::vector<Ngrams> references;
  for (const std::string& text : sample.references) references.push_back(count_ngrams(text));
  const Ngrams candidate = count_ngrams(sample.candidate);

  Counts counts;
  counts.length = candidate.words;
  counts.reference_length = closest(references, candidate.words);
  for (std::size_t n = 0; n < kMaxNgram; ++n) {
    counts.guessed[n] = candidate.words > n ? candidate.words - n : 0;
    for (const auto& [ngram, times] : candidate.counts[n]) {
      std::size_t most = 0;
      for (const Ngrams& reference : references) {
        const auto found = reference.counts[n].find(ngram);
        if (found != reference.counts[n].end()) most = std::max(most, found->second);
      }
      counts.correct[n] += std::min(most, times);
    }
  }
  return counts;
}

/// The small numbers keep empty captions from dividing by zero; they are the reference's.
std::array<double, kMaxNgram> score(const Counts& counts) {
  constexpr double kSmall = 1e-9;
  constexpr double kTiny = 1e-15;
  const double ratio = (static_cast<double>(counts.length) + kTiny) /
                       (static_cast<double>(counts.reference_length) + kSmall);
  const double brevity = ratio < 1 ? std::exp(1 - 1 / ratio) : 1;
  std::array<double, kMaxNgram> scores{};
  double product = 1;
  for (std::size_t n = 0; n < kMaxNgram; ++n) {
    product *= (static_cast<double>(counts.correct[n]) + kTiny) /
               (static_cast<double>(counts.guessed[n]) + kSmall);
    scores[n] = std::pow(product, 1.0 / static_cast<double>(n + 1)) * brevity;
  }
  return scores;
}

}  // namespace

std::array<CorpusScore, kMaxNgram> bleu(std::span<const CaptionSample> samples) {
  std::array<CorpusScore, kMaxNgram> scores;
  Counts corpus;
  for (const CaptionSample& sample : samples) {
    const Counts counts = count(sample);
    corpus.add(counts);
    const auto each = score(counts);
    for (std::size_t n = 0; n < kMaxNgram; ++n) scores[n].each.push_back(each[n]);
  }
  const auto all = score(corpus);
  for (std::size_t n = 0; n < kMaxNgram; ++n) scores[n].score = all[n];
  return scores;
}

}  // namespace blip
