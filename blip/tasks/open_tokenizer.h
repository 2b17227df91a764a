#pragma once

#include "blip/checkpoint/checkpoint.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip {

/// The tokenizer that a checkpoint is used with. The authors' files come without a vocabulary: it
/// is always bert-base-uncased's.
inline Tokenizer open_tokenizer(const Checkpoint& checkpoint) {
  if (checkpoint.family == CheckpointFamily::authors) return Tokenizer::bert_base_uncased();
  return Tokenizer::from_folder(checkpoint.folder);
}

}  // namespace blip
