#include "blip/metrics/ngrams.h"

#include <vector>

#include "blip/metrics/words.h"

namespace blip {

Ngrams count_ngrams(std::string_view text) {
  const std::vector<std::string_view> words = split_words(text);
  Ngrams ngrams;
  ngrams.words = words.size();
  for (std::size_t begin = 0; begin < words.size(); ++begin) {
    std::string ngram;
    for (std::size_t n = 0; n < kMaxNgram && begin + n < words.size(); ++n) {
      if (n > 0) ngram += ' ';
      ngram += words[begin + n];
      ++ngrams.counts[n][ngram];
    }
  }
  return ngrams;
}

}  // namespace blip
