#pragma once

#include <filesystem>
#include <system_error>

#include "blip/checkpoint/checkpoint.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip {

/// The tokenizer that a checkpoint is used with. The authors' files come without a vocabulary: it
/// is bert-base-uncased's. A folder with their conventions, such as a trained model's, may have
/// one.
inline Tokenizer open_tokenizer(const Checkpoint& checkpoint) {
  const auto has = [&](const char* file) {
    std::error_code ignored;
    return std::filesystem::exists(checkpoint.folder / file, ignored);
  };
  const bool own = has("config.json") && (has("vocab.txt") || has("tokenizer.json"));
  if (checkpoint.family == CheckpointFamily::authors && !own) {
    return Tokenizer::bert_base_uncased();
  }
  return Tokenizer::from_folder(checkpoint.folder);
}

}  // namespace blip
