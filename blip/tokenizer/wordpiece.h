#pragma once

#include <string_view>
#include <vector>

#include "blip/tokenizer/vocab.h"

namespace blip {

/// Appends the ids of the longest pieces of `word` (UTF-8, not empty), from left to right; all but
/// the first are looked up with "##" before them. A word of more than 100 characters, or one whose
/// rest starts with no known piece, is `unknown` as a whole.
void append_pieces(const Vocab& vocab, std::string_view word, int unknown, std::vector<int>& ids);

}  // namespace blip
