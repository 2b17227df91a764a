#pragma once

#include <functional>
#include <string_view>

namespace blip {

/// BERT's basic tokenizer, uncased: clean-up, ideographs set apart, NFD without nonspacing marks,
/// lower case, and a cut at white space and around each punctuation mark. Calls `word` with each
/// word in turn; the view is valid during the call. Bytes that are not UTF-8 are dropped.
/// Source: BertNormalizer and BertPreTokenizer of the `tokenizers` library.
void split_words(std::string_view text, const std::function<void(std::string_view)>& word);

}  // namespace blip
