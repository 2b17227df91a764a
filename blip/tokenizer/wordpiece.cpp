#include "blip/tokenizer/wordpiece.h"

#include <algorithm>
#include <string>

namespace blip {
namespace {

constexpr std::size_t kMaxChars = 100;

bool starts_char(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
}

struct Piece {
  int id = -1;
  std::size_t size = 0;
};

/// The longest token that `text` starts with and that is longer than `least` bytes.
Piece longest_piece(const Vocab& vocab, std::string_view text, std::size_t least) {
  std::size_t size = std::min(text.size(), vocab.longest());
  for (; size > least; --size) {
    if (size < text.size() && !starts_char(text[size])) continue;
    const int id = vocab.find(text.substr(0, size));
    if (id >= 0) return {id, size};
  }
  return {};
}

}  // namespace

void append_pieces(const Vocab& vocab, std::string_view word, int unknown, std::vector<int>& ids) {
  constexpr std::string_view kPrefix = "##";
  if (static_cast<std::size_t>(std::ranges::count_if(word, starts_char)) > kMaxChars) {
    ids.push_back(unknown);
    return;
  }
  const std::size_t before = ids.size();
  std::string rest(word);
  for (std::size_t prefix = 0; rest.size() > prefix; prefix = kPrefix.size()) {
    const Piece piece = longest_piece(vocab, rest, prefix);
    if (piece.id < 0) {
      ids.resize(before);
      ids.push_back(unknown);
      return;
    }
    ids.push_back(piece.id);
    rest.replace(0, piece.size, kPrefix);
  }
}

}  // namespace blip
