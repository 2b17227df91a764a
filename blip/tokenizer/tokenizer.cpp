#include "blip/tokenizer/tokenizer.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <utility>

#include "blip/base/error.h"
#include "blip/tokenizer/basic_tokenizer.h"
#include "blip/tokenizer/tokenizer_folder.h"
#include "blip/tokenizer/vocab.h"
#include "blip/tokenizer/wordpiece.h"

extern "C" {
extern const char blip_bert_base_uncased_vocab[];
extern const char blip_bert_base_uncased_vocab_end[];
}

namespace blip {
namespace {

constexpr std::size_t kMaxAddedTokens = 1024;

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  std::size_t at = text.find(from);
  if (at == std::string::npos) return;
  std::string result;
  std::size_t done = 0;
  for (; at != std::string::npos; at = text.find(from, done)) {
    result.append(text, done, at - done).append(to);
    done = at + from.size();
  }
  text = result.append(text, done);
}

enum class CleanUp { token, whole_text };

/// The two clean-ups differ in " do not", which only the one for single tokens shortens.
void clean_up(std::string& text, CleanUp kind) {
  replace_all(text, " .", ".");
  replace_all(text, " ?", "?");
  replace_all(text, " !", "!");
  replace_all(text, " ,", ",");
  replace_all(text, " ' ", "'");
  replace_all(text, " n't", "n't");
  replace_all(text, " 'm", "'m");
  if (kind == CleanUp::token) replace_all(text, " do not", " don't");
  replace_all(text, " 's", "'s");
  replace_all(text, " 've", "'ve");
  replace_all(text, " 're", "'re");
}

}  // namespace

struct Tokenizer::Data {
  struct AddedToken {
    std::string text;
    int id;
  };

  Vocab vocab;
  std::vector<AddedToken> added;  ///< longest first, so that the first match is the longest
  std::bitset<256> starts;        ///< first bytes of `added`
  std::vector<bool> special;      ///< by id
  int cls, sep, pad, unk;

  Data(Vocab tokens, std::span<const std::string> more) : vocab(std::move(tokens)) {
    cls = required("[CLS]");
    sep = required("[SEP]");
    pad = required("[PAD]");
    unk = required("[UNK]");
    for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}) add(token);
    if (vocab.find("[MASK]") >= 0) add("[MASK]");
    for (const std::string& token : more) add(token);
    std::ranges::stable_sort(added, std::ranges::greater{},
                             [](const AddedToken& token) { return token.text.size(); });
  }

  int required(std::string_view token) const {
    const int id = vocab.find(token);
    if (id < 0) {
      throw Error(ErrorCode::bad_model, "the vocabulary of " + std::to_string(vocab.size()) +
                                            " tokens has no " + std::string(token) +
                                            ", which BERT's tokenizer needs");
    }
    return id;
  }

  void add(std::string_view token) {
    if (token.empty()) return;
    int id = vocab.find(token);
    if (id < 0) id = vocab.add(token);
    special.resize(vocab.size());
    if (special[static_cast<std::size_t>(id)]) return;
    if (added.size() >= kMaxAddedTokens) {
      throw Error(ErrorCode::bad_model, "a tokenizer may have at most " +
                                            std::to_string(kMaxAddedTokens) +
                                            " added tokens; this one has more");
    }
    special[static_cast<std::size_t>(id)] = true;
    added.push_back({std::string(token), id});
    starts.set(static_cast<unsigned char>(token.front()));
  }

  bool is_special(int id) const {
    return static_cast<std::size_t>(id) < special.size() && special[static_cast<std::size_t>(id)];
  }

  /// The longest added token that `text` starts with, or null.
  const AddedToken* added_at(std::string_view text) const {
    if (!starts.test(static_cast<unsigned char>(text.front()))) return nullptr;
    const auto found = std::ranges::find_if(
        added, [text](const AddedToken& token) { return text.starts_with(token.text); });
    return found == added.end() ? nullptr : &*found;
  }

  void append_ids(std::string_view text, std::vector<int>& ids) const {
    const auto word = [&](std::string_view w) { append_pieces(vocab, w, unk, ids); };
    std::size_t done = 0;
    for (std::size_t at = 0; at < text.size();) {
      const AddedToken* token = added_at(text.substr(at));
      if (token == nullptr) {
        ++at;
        continue;
      }
      split_words(text.substr(done, at - done), word);
      ids.push_back(token->id);
      at += token->text.size();
      done = at;
    }
    split_words(text.substr(done), word);
  }
};

Tokenizer::Tokenizer(std::unique_ptr<Data> data) : data_(std::move(data)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::from_folder(const std::filesystem::path& folder) {
  TokenizerFolder read = read_tokenizer_folder(folder);
  return Tokenizer(std::make_unique<Data>(std::move(read.vocab), read.added_tokens));
}

Tokenizer Tokenizer::bert_base_uncased() {
  const std::array<std::string, 2> added = {"[DEC]", "[ENC]"};
  const auto size =
      static_cast<std::size_t>(blip_bert_base_uncased_vocab_end - blip_bert_base_uncased_vocab);
  return from_vocab({blip_bert_base_uncased_vocab, size}, added);
}

Tokenizer Tokenizer::from_vocab(std::string_view vocab_txt,
                                std::span<const std::string> added_tokens) {
  Vocab vocab = parse_vocab_txt(vocab_txt, "the vocabulary");
  return Tokenizer(std::make_unique<Data>(std::move(vocab), added_tokens));
}

std::vector<int> Tokenizer::encode(std::string_view text) const {
  std::vector<int> ids = {data_->cls};
  data_->append_ids(text, ids);
  ids.push_back(data_->sep);
  return ids;
}

std::vector<int> Tokenizer::encode_plain(std::string_view text) const {
  std::vector<int> ids;
  data_->append_ids(text, ids);
  return ids;
}

std::vector<int> Tokenizer::encode_truncated(std::string_view text, std::size_t max_length) const {
  if (max_length < 2) {
    throw Error(ErrorCode::usage, "a text needs room for at least 2 tokens, [CLS] and [SEP], but " +
                                      std::to_string(max_length) + " were allowed");
  }
  std::vector<int> ids = encode(text);
  if (ids.size() > max_length) {
    ids.resize(max_length);
    ids.back() = data_->sep;
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const int> ids, const DecodeOptions& options) const {
  constexpr std::string_view kPrefix = "##";
  std::string text;
  std::string piece;
  bool first = true;
  for (const int id : ids) {
    if (id < 0 || static_cast<std::size_t>(id) >= data_->vocab.size()) continue;
    if (options.skip_special_tokens && data_->is_special(id)) continue;
    const std::string_view token = data_->vocab.token(id);
    if (first) {
      piece = token;
    } else if (token.starts_with(kPrefix)) {
      piece = token.substr(kPrefix.size());
    } else {
      piece.assign(" ").append(token);
    }
    clean_up(piece, CleanUp::token);
    text += piece;
    first = false;
  }
  if (options.clean_up_tokenization_spaces) clean_up(text, CleanUp::whole_text);
  return text;
}

std::string_view Tokenizer::token(int id) const {
  return data_->vocab.token(id);
}
int Tokenizer::id(std::string_view token) const {
  return data_->vocab.find(token);
}
std::size_t Tokenizer::vocab_size() const {
  return data_->vocab.size();
}
int Tokenizer::cls_id() const {
  return data_->cls;
}
int Tokenizer::sep_id() const {
  return data_->sep;
}
int Tokenizer::pad_id() const {
  return data_->pad;
}
int Tokenizer::unk_id() const {
  return data_->unk;
}

}  // namespace blip
