#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace blip {

/// Tokens and their ids, 0, 1, 2, ... in the order of adding. One text and one flat hash table:
/// 30522 tokens are there in under a millisecond.
class Vocab {
 public:
  Vocab() = default;
  Vocab(std::size_t tokens, std::size_t bytes);  ///< with room for that much

  /// Adds a token and returns its id, or -1 when it is there already.
  /// Throws Error{bad_model} beyond 2^20 tokens or 2^26 bytes.
  int add(std::string_view token);

  int find(std::string_view token) const;  ///< -1 when it is not there
  std::string_view token(int id) const;    ///< empty when there is none; valid until add()
  std::size_t size() const { return ends_.size(); }
  std::size_t longest() const { return longest_; }  ///< bytes of the longest token

 private:
  std::size_t slot(std::string_view token) const;
  void rehash(std::size_t slots);

  std::string text_;                 ///< all tokens, one after the other
  std::vector<std::uint32_t> ends_;  ///< where each ends in text_
  std::vector<std::int32_t> slots_;  ///< ids, -1 for a free slot; a power of two, at most half full
  std::size_t longest_ = 0;
};

/// From the text of a vocab.txt: one token a line, its id the line's number. `where` names the text
/// in messages. Throws Error{bad_model} for a token that comes twice or text that is not UTF-8.
Vocab parse_vocab_txt(std::string_view text, std::string_view where);

}  // namespace blip
