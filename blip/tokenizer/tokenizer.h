#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip/base/export.h"

namespace blip {

struct DecodeOptions {
  bool skip_special_tokens = true;
  /// Also run the whole-string clean-up (" n't" -> "n't", ...): transformers' default up to 4.44
  /// and the authors' code; off since.
  bool clean_up_tokenization_spaces = false;
};

/// BERT's uncased WordPiece tokenizer as BLIP checkpoints carry it. Immutable, safe to share.
///
/// [PAD] [UNK] [CLS] [SEP] [MASK] and the added tokens are found in the raw text first, in their
/// exact case and also inside words; they are what `skip_special_tokens` leaves out.
/// Source: BertTokenizer of transformers 5, whose ids are reproduced.
class BLIP_API Tokenizer {
 public:
  /// Reads `vocab.txt` (preferred) or `tokenizer.json` of a checkpoint folder, with the tokens that
  /// `added_tokens.json`, `special_tokens_map.json` and `tokenizer_config.json` add. All of these
  /// count as special; an id that a file states has to be the token's place in the vocabulary or
  /// the next one after it.
  /// Throws Error{not_found} when the folder has neither, Error{bad_model} when a file is damaged,
  /// too large, or lacks [PAD], [UNK], [CLS] or [SEP], and Error{unsupported} for another kind of
  /// tokenizer (not WordPiece, cased, other names for those four).
  static Tokenizer from_folder(const std::filesystem::path& folder);
  /// The vocabulary that comes with the program (bert-base-uncased, 30522 entries) with
  /// [DEC] = 30522 and [ENC] = 30523: what the authors' .pth files are used with.
  static Tokenizer bert_base_uncased();
  /// From the text of a vocab.txt: one token a line, its id the line's number. `added_tokens` that
  /// it does not have get the next ids. Throws Error{bad_model}.
  static Tokenizer from_vocab(std::string_view vocab_txt,
                              std::span<const std::string> added_tokens = {});

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Ids of UTF-8 `text` with [CLS] before and [SEP] after. Bytes that are not UTF-8 count as
  /// U+FFFD, which the reference drops. Time is linear in the text's length.
  std::vector<int> encode(std::string_view text) const;
  /// The same without [CLS] and [SEP].
  std::vector<int> encode_plain(std::string_view text) const;
  /// The same as encode(), with only the first `max_length` - 2 ids between [CLS] and [SEP].
  /// Throws Error{usage} when `max_length` is below 2.
  std::vector<int> encode_truncated(std::string_view text, std::size_t max_length) const;

  /// Text of `ids`. Ids that the vocabulary does not have are skipped.
  std::string decode(std::span<const int> ids, const DecodeOptions& options = {}) const;

  /// The vocabulary's entry, such as "##ing"; empty when there is none. The view lives as long as
  /// the tokenizer.
  std::string_view token(int id) const;
  /// Id of an entry, -1 when there is none.
  int id(std::string_view token) const;
  /// Entries, the added tokens among them.
  std::size_t vocab_size() const;

  int cls_id() const;
  int sep_id() const;
  int pad_id() const;
  int unk_id() const;

 private:
  struct Data;
  explicit Tokenizer(std::unique_ptr<Data> data);
  std::unique_ptr<const Data> data_;
};

}  // namespace blip
