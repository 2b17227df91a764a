#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>

namespace blip {

/// BLEU and CIDEr look at one to four words in a row.
inline constexpr std::size_t kMaxNgram = 4;

/// How often each n-gram occurs; its words are joined by single spaces.
using NgramCounts = std::unordered_map<std::string, std::size_t>;

struct Ngrams {
  std::size_t words = 0;
  std::array<NgramCounts, kMaxNgram> counts;  ///< of one word, of two, ...
};

/// Of a caption as PtbTokenizer leaves it.
Ngrams count_ngrams(std::string_view text);

}  // namespace blip
