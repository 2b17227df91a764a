// Any bytes as a tokenizer.json: an error or a vocabulary that finds each of its tokens again.
#include "blip/tokenizer/tokenizer_json.h"

#include <cstdint>
#include <string_view>

#include "blip/base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const blip::TokenizerJson read =
        blip::parse_tokenizer_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    for (std::size_t id = 0; id < read.vocab.size(); ++id) {
      const int expected = static_cast<int>(id);
      if (read.vocab.find(read.vocab.token(expected)) != expected) __builtin_trap();
    }
  } catch (const blip::Error&) {
  }
  return 0;
}
