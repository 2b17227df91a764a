#pragma once

#include <span>

#include "blip/metrics/caption_sample.h"

namespace blip {

/// ROUGE-L (Lin 2004), from 0 to 1: the F-measure, with beta 1.2, of the best precision and the
/// best recall over a picture's references, averaged over the pictures, as in pycocoevalcap.
/// Throws Error{usage} for a picture without references.
CorpusScore rouge_l(std::span<const CaptionSample> samples);

}  // namespace blip
