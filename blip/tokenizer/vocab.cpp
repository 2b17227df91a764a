#include "blip/tokenizer/vocab.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "blip/base/error.h"
#include "blip/tokenizer/unicode.h"

namespace blip {
namespace {

constexpr std::size_t kMaxTokens = std::size_t{1} << 20;
constexpr std::size_t kMaxBytes = std::size_t{1} << 26;

}  // namespace

Vocab::Vocab(std::size_t tokens, std::size_t bytes) {
  text_.reserve(std::min(bytes, kMaxBytes));
  ends_.reserve(std::min(tokens, kMaxTokens));
  rehash(std::bit_ceil(2 * std::min(tokens, kMaxTokens) + 2));
}

int Vocab::add(std::string_view token) {
  if (2 * (size() + 1) > slots_.size()) rehash(std::max<std::size_t>(16, 2 * slots_.size()));
  const std::size_t at = slot(token);
  if (slots_[at] >= 0) return -1;
  if (size() >= kMaxTokens || token.size() > kMaxBytes - text_.size()) {
    throw Error(ErrorCode::bad_model, "a vocabulary may have at most " +
                                          std::to_string(kMaxTokens) + " tokens and " +
                                          std::to_string(kMaxBytes) + " bytes; this one has more");
  }
  const auto id = static_cast<std::int32_t>(size());
  text_.append(token);
  ends_.push_back(static_cast<std::uint32_t>(text_.size()));
  slots_[at] = id;
  longest_ = std::max(longest_, token.size());
  return id;
}

int Vocab::find(std::string_view token) const {
  return slots_.empty() ? -1 : slots_[slot(token)];
}

std::string_view Vocab::token(int id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= size()) return {};
  const auto i = static_cast<std::size_t>(id);
  const std::size_t begin = i == 0 ? 0 : ends_[i - 1];
  return std::string_view(text_).substr(begin, ends_[i] - begin);
}

/// The slot that holds `token`, or the free one where it belongs.
std::size_t Vocab::slot(std::string_view token) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = std::hash<std::string_view>{}(token)&mask;
  while (slots_[at] >= 0 && this->token(slots_[at]) != token) at = (at + 1) & mask;
  return at;
}

void Vocab::rehash(std::size_t slots) {
  slots_.assign(slots, -1);
  for (std::size_t i = 0; i < size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    slots_[slot(token(id))] = id;
  }
}

Vocab parse_vocab_txt(std::string_view text, std::string_view where) {
  if (!is_utf8(text)) {
    throw Error(ErrorCode::bad_model, std::string(where) + " is not UTF-8 text");
  }
  Vocab vocab(static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1, text.size());
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (vocab.add(line) < 0) {
      throw Error(ErrorCode::bad_model, std::string(where) + " has " + in_quotes(line) +
                                            " a second time in line " +
                                            std::to_string(vocab.size() + 1));
    }
  }
  return vocab;
}

}  // namespace blip
