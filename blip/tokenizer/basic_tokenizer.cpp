#include "blip/tokenizer/basic_tokenizer.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "blip/tokenizer/unicode.h"

namespace blip {
namespace {

class Splitter {
 public:
  explicit Splitter(const std::function<void(std::string_view)>& word) : emit_(word) {}

  /// Takes a character of the text.
  void add(char32_t c) {
    const CharClass kind = char_info(c).kind;
    if (kind == CharClass::removed) return;
    if (kind == CharClass::space) {
      append(U' ');
      return;
    }
    const bool apart = is_cjk_ideograph(c);
    if (apart) append(U' ');
    std::array<std::int32_t, 8> parts;
    const std::size_t count = decompose(c, parts);
    for (std::size_t i = 0; i < count; ++i) order(static_cast<char32_t>(parts[i]));
    if (apart) append(U' ');
  }

  void finish() { append(U' '); }

 private:
  struct Waiting {
    char32_t c;
    int combining_class;
  };

  /// Canonical order, without the nonspacing marks. A mark of class 0 still ends a run.
  void order(char32_t c) {
    const CharInfo info = char_info(c);
    const bool drop = info.kind == CharClass::mark;
    if (info.combining_class != 0) {
      if (!drop) waiting_.push_back({c, info.combining_class});
      return;
    }
    if (drop) {
      flush();
    } else {
      append(c);
    }
  }

  void flush() {
    if (waiting_.empty()) return;
    std::ranges::stable_sort(waiting_, {}, &Waiting::combining_class);
    for (const Waiting& w : waiting_) cut(to_lower(w.c));
    waiting_.clear();
  }

  void append(char32_t c) {
    flush();
    cut(to_lower(c));
  }

  void cut(char32_t c) {
    const CharClass kind = char_info(c).kind;
    if (kind != CharClass::space && kind != CharClass::punctuation) {
      append_utf8(word_, c);
      return;
    }
    end_word();
    if (kind == CharClass::punctuation) {
      append_utf8(word_, c);
      end_word();
    }
  }

  void end_word() {
    if (!word_.empty()) emit_(word_);
    word_.clear();
  }

  const std::function<void(std::string_view)>& emit_;
  std::string word_;
  std::vector<Waiting> waiting_;
};

}  // namespace

void split_words(std::string_view text, const std::function<void(std::string_view)>& word) {
  Splitter splitter(word);
  while (!text.empty()) splitter.add(take_char(text));
  splitter.finish();
}

}  // namespace blip
