#pragma once

#include <array>
#include <span>

#include "blip/metrics/caption_sample.h"
#include "blip/metrics/ngrams.h"

namespace blip {

/// BLEU-1 to BLEU-4 (Papineni et al. 2002) of a corpus, from 0 to 1, with the length of the closest
/// reference, as pycocoevalcap computes them.
/// Throws Error{usage} for a picture without references.
std::array<CorpusScore, kMaxNgram> bleu(std::span<const CaptionSample> samples);

}  // namespace blip
