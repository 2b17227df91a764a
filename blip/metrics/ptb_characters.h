#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace blip {

/// Text as the rules of ptb_rules.h see it. The reference reads UTF-16, and its rules tell apart
/// some sixty kinds of character; here each UTF-16 unit becomes one byte. ASCII stands for itself,
/// except that control characters become `ptb::kSkipped`.
struct PtbText {
  std::u16string units;
  std::string kinds;  ///< one byte for each unit
};

namespace ptb {
inline constexpr char kSmallLetter = '\x80';  ///< letters without case too
inline constexpr char kCapitalLetter = '\x81';
inline constexpr char kCapitalSymbol = '\x82';   ///< circled capitals
inline constexpr char kCapitalNumeral = '\x83';  ///< Roman numerals: skipped, but end a sentence
inline constexpr char kMark = '\x84';            ///< goes on with a word; letters of some scripts
inline constexpr char kSoftHyphen = '\x85';
inline constexpr char kDigit = '\x86';
inline constexpr char kDigitSeparator = '\x87';  ///< Arabic decimal and thousands separators
inline constexpr char kRaisedDigit = '\x88';
inline constexpr char kLoweredDigit = '\x89';
inline constexpr char kRaisedSign = '\x8A';  ///< plus and minus, raised or lowered
inline constexpr char kFraction = '\x8B';
inline constexpr char kFractionSlash = '\x8C';
inline constexpr char kCurrency = '\x8D';  ///< all but the dollar
inline constexpr char kNoBreakSpace = '\x8E';
inline constexpr char kWideSpace = '\x8F';
inline constexpr char kLineBreak = '\x90';
inline constexpr char kDash = '\x91';
inline constexpr char kHyphen = '\x92';
inline constexpr char kEllipsis = '\x93';
inline constexpr char kComma = '\x94';       ///< the ideographic one
inline constexpr char kApostrophe = '\x95';  ///< right single quotes
inline constexpr char kLeftQuote = '\x96';   ///< left single quotes
inline constexpr char kQuote = '\x97';       ///< the others
inline constexpr char kSymbol = '\x98';      ///< a token of its own
inline constexpr char kSkipped = '\x99';     ///< what the reference cannot tokenize and leaves out
}  // namespace ptb

/// Bytes of `text` that are not UTF-8 become U+FFFD, which is skipped.
void append_ptb_text(PtbText& out, std::string_view text);

/// The lower-case form of `units` in UTF-8, as Java's toLowerCase(Locale.ENGLISH) makes it.
std::string lower_utf8(std::u16string_view units);

}  // namespace blip
