#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "blip/tokenizer/vocab.h"

namespace blip {

inline constexpr std::uint64_t kNoTokenId = ~std::uint64_t{0};

struct TokenEntry {
  std::string token;
  std::uint64_t id = kNoTokenId;  ///< as the file has it; kNoTokenId when that is no natural number
};

struct TokenizerJson {
  Vocab vocab;
  std::vector<TokenEntry> added_tokens;
};

/// Parses the text of a tokenizer.json. `where` names it in messages.
/// Throws Error{bad_model} unless model.vocab numbers its tokens 0, 1, 2, ... in any order,
/// Error{unsupported} for a model other than WordPiece with "##".
TokenizerJson parse_tokenizer_json(std::string_view text, const std::string& where);

}  // namespace blip
