#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "blip/tokenizer/vocab.h"

namespace blip {

struct TokenizerFolder {
  Vocab vocab;
  std::vector<std::string> added_tokens;  ///< in the order of their ids; some may be in `vocab`
};

/// Reads what a checkpoint folder says about its tokenizer; see Tokenizer::from_folder.
/// Throws Error{not_found}, Error{io}, Error{bad_model}, Error{unsupported}.
TokenizerFolder read_tokenizer_folder(const std::filesystem::path& folder);

}  // namespace blip
