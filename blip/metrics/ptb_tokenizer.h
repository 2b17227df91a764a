#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace blip {

/// Splits captions into the words that the caption metrics count, as pycocoevalcap does: Stanford's
/// PTBTokenizer 3.4.1 with -preserveLines and -lowerCase, without the punctuation that
/// pycocoevalcap's list names. Safe to share between threads.
class PtbTokenizer {
 public:
  PtbTokenizer();
  ~PtbTokenizer();
  PtbTokenizer(PtbTokenizer&&) noexcept;
  PtbTokenizer& operator=(PtbTokenizer&&) noexcept;

  static constexpr std::size_t kMaxCaptionBytes = 16384;

  /// The words of each caption, with single spaces between them; no-break spaces may stand inside a
  /// word. The captions are read as the lines of one text, as the reference reads them: after some
  /// abbreviations the next line matters. Line breaks inside a caption count as spaces.
  /// Throws Error{too_large} for a caption longer than kMaxCaptionBytes.
  std::vector<std::string> tokenize(std::span<const std::string> captions) const;

 private:
  class Lexer;
  std::unique_ptr<const Lexer> lexer_;
};

}  // namespace blip
