#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "blip/metrics/caption_sample.h"
#include "blip/metrics/ngrams.h"

namespace blip {

/// In the references of how many pictures each n-gram occurs. They weigh CIDEr's n-grams: what
/// every picture's captions say counts little.
class DocumentFrequencies {
 public:
  /// Adds a picture's references, tokenized.
  void add(std::span<const std::string> references);

  std::size_t pictures() const { return pictures_; }
  /// 0 for an n-gram that no picture has.
  std::size_t operator[](const std::string& ngram) const;

 private:
  std::size_t pictures_ = 0;
  NgramCounts counts_;
};

/// CIDEr-D (Vedantam et al. 2015), from 0 to 10, with n-grams of up to four words and sigma 6, as
/// pycocoevalcap computes what it calls CIDEr. There the frequencies are those of the samples'
/// references.
/// Throws Error{usage} for a picture without references, or no picture in `frequencies`.
CorpusScore cider_d(std::span<const CaptionSample> samples, const DocumentFrequencies& frequencies);

/// The frequencies in the references of `samples`.
DocumentFrequencies document_frequencies(std::span<const CaptionSample> samples);

}  // namespace blip
