// Any bytes as captions, a line each: words without ends of lines, and no crash in any score.
#include <cstdint>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/metrics/ptb_tokenizer.h"
#include "blip/metrics/vqa_accuracy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const blip::PtbTokenizer tokenizer;
  std::vector<std::string> captions(1);
  for (std::size_t i = 0; i < size; ++i) {
    if (data[i] == '\n') {
      captions.emplace_back();
    } else {
      captions.back() += static_cast<char>(data[i]);
    }
  }
  try {
    const std::vector<std::string> words = tokenizer.tokenize(captions);
    if (words.size() != captions.size()) __builtin_trap();
    for (const std::string& line : words) {
      if (line.find('\n') != std::string::npos) __builtin_trap();
    }
  } catch (const blip::Error&) {
  }
  blip::normalize_answer(captions.front());
  return 0;
}
