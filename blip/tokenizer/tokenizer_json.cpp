#include "blip/tokenizer/tokenizer_json.h"

#include <array>

#include "blip/base/error.h"
#include "blip/base/json.h"

namespace blip {
namespace {

/// Picks what is wanted while the text is parsed: a Json with all of model.vocab would take time
/// in proportion to the square of its size.
class Reader final : public Json::json_sax_t {
 public:
  std::vector<TokenEntry> vocab;
  std::vector<TokenEntry> added;
  std::string type = "WordPiece";
  std::string prefix = "##";
  std::string error;

  bool null() override { return take(kNoTokenId, {}); }
  bool boolean(bool) override { return take(kNoTokenId, {}); }
  bool number_integer(Json::number_integer_t) override { return take(kNoTokenId, {}); }
  bool number_unsigned(Json::number_unsigned_t value) override { return take(value, {}); }
  bool number_float(Json::number_float_t, const std::string&) override {
    return take(kNoTokenId, {});
  }
  bool string(std::string& value) override { return take(kNoTokenId, value); }
  bool binary(Json::binary_t&) override { return false; }

  bool start_object(std::size_t) override {
    open();
    if (depth_ == 3 && key_[1] == "added_tokens") added.emplace_back();
    return true;
  }
  bool start_array(std::size_t) override { return open(); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(std::string& name) override {
    if (depth_ < key_.size()) key_[depth_] = name;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const Json::exception& e) override {
    error = e.what();
    return false;
  }

 private:
  bool open() {
    if (++depth_ < key_.size()) key_[depth_].clear();
    return true;
  }
  bool close() {
    --depth_;
    return true;
  }

  bool take(std::uint64_t id, std::string_view text) {
    if (depth_ == 3 && key_[1] == "model" && key_[2] == "vocab") {
      vocab.push_back({key_[3], id});
    } else if (depth_ == 3 && key_[1] == "added_tokens" && !added.empty()) {
      if (key_[3] == "id") added.back().id = id;
      if (key_[3] == "content") added.back().token = text;
    } else if (depth_ == 2 && key_[1] == "model") {
      if (key_[2] == "type") type = text;
      if (key_[2] == "continuing_subword_prefix") prefix = text;
    }
    return true;
  }

  std::size_t depth_ = 0;
  std::array<std::string, 4> key_;  ///< of the member being read, by depth; "" in an array
};

Vocab by_id(const std::vector<TokenEntry>& entries, const std::string& where) {
  std::vector<const std::string*> tokens(entries.size());
  std::size_t bytes = 0;
  for (const TokenEntry& entry : entries) {
    if (entry.id >= entries.size() || tokens[entry.id] != nullptr) {
      throw Error(ErrorCode::bad_model,
                  where + " should number the " + std::to_string(entries.size()) +
                      " tokens of model.vocab from 0 without gaps; the id of " +
                      in_quotes(entry.token) + " does not fit");
    }
    tokens[entry.id] = &entry.token;
    bytes += entry.token.size();
  }
  Vocab vocab(entries.size(), bytes);
  for (const std::string* token : tokens) {
    if (vocab.add(*token) < 0) {
      throw Error(ErrorCode::bad_model, where + " has the token " + in_quotes(*token) + " twice");
    }
  }
  return vocab;
}

}  // namespace

TokenizerJson parse_tokenizer_json(std::string_view text, const std::string& where) {
  Reader reader;
  if (!Json::sax_parse(text.begin(), text.end(), &reader)) {
    throw Error(ErrorCode::bad_model, where + " is not valid JSON: " + in_quotes(reader.error));
  }
  if (reader.type != "WordPiece" || reader.prefix != "##") {
    throw Error(ErrorCode::unsupported,
                where + " should have a WordPiece model with the prefix \"##\", but has " +
                    in_quotes(reader.type) + " with " + in_quotes(reader.prefix));
  }
  return {by_id(reader.vocab, where), std::move(reader.added)};
}

}  // namespace blip
