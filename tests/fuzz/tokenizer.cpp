// Any bytes as a text, and as a vocabulary: ids within the vocabulary, and no crash on the way
// back.
#include <cstdint>
#include <string_view>

#include "blip/base/error.h"
#include "blip/tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const blip::Tokenizer bert = blip::Tokenizer::bert_base_uncased();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::vector<int> ids = bert.encode(text);
  for (const int id : ids) {
    if (id < 0 || static_cast<std::size_t>(id) >= bert.vocab_size()) __builtin_trap();
  }
  bert.decode(ids, {false, true});
  try {
    const blip::Tokenizer own = blip::Tokenizer::from_vocab(text);
    own.decode(own.encode(text));
  } catch (const blip::Error&) {
  }
  return 0;
}
