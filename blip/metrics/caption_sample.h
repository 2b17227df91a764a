#pragma once

#include <string>
#include <vector>

namespace blip {

/// A picture's caption and what people wrote, both as PtbTokenizer leaves them.
struct CaptionSample {
  std::string candidate;
  std::vector<std::string> references;  ///< at least one
};

/// A metric over a set of pictures.
struct CorpusScore {
  double score = 0;
  std::vector<double> each;  ///< of each picture
};

}  // namespace blip
