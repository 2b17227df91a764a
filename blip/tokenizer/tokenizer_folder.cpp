#include "blip/tokenizer/tokenizer_folder.h"

#include <charconv>
#include <cstdint>
#include <map>
#include <string_view>
#include <utility>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/base/json.h"
#include "blip/tokenizer/tokenizer_json.h"

namespace blip {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxVocabBytes = std::size_t{16} << 20;
constexpr std::size_t kMaxSettingsBytes = std::size_t{1} << 20;

[[noreturn]] void damaged(const std::string& message) {
  throw Error(ErrorCode::bad_model, message);
}

std::string read_text(const fs::path& file, std::size_t max_bytes) {
  try {
    return read_file(file, max_bytes);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::too_large) throw;
    damaged(e.what());
  }
}

bool is_there(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(file, ignored);
}

/// A JSON object that may be missing; empty then.
Json read_settings(const fs::path& file) {
  if (!is_there(file)) return Json::object();
  Json json = parse_json(read_text(file, kMaxSettingsBytes), file.string());
  if (!json.is_object()) damaged(file.string() + " should hold a JSON object");
  return json;
}

std::uint64_t as_id(const Json& json) {
  return json.is_number_unsigned() ? json.get<std::uint64_t>() : kNoTokenId;
}

/// A token is written as a string or as an object with its text in "content".
std::string as_token(const Json& json, const std::string& where) {
  const auto content = json.is_object() ? json.find("content") : json.end();
  const Json& text = json.is_object() && content != json.end() ? *content : json;
  if (!text.is_string()) damaged(where + " should be a token, but is " + in_quotes(text.dump()));
  return text.get<std::string>();
}

/// Tokens that the files add: with the id they state, or in the order in which they come.
struct Added {
  std::map<std::uint64_t, std::string> with_id;
  std::vector<std::string> without_id;

  void add(std::uint64_t id, const std::string& token, const std::string& where) {
    if (id == kNoTokenId || token.empty()) {
      damaged(where + " has no valid text or id for the added token " + in_quotes(token));
    }
    const auto [entry, is_new] = with_id.try_emplace(id, token);
    if (!is_new && entry->second != token) {
      damaged(where + " gives id " + std::to_string(id) + " to " + in_quotes(token) + " and to " +
              in_quotes(entry->second));
    }
  }
};

void check_config(const Json& config, const std::string& where) {
  for (const char* key : {"do_lower_case", "strip_accents", "tokenize_chinese_chars"}) {
    const auto found = config.find(key);
    if (found == config.end() || found->is_null() || (found->is_boolean() && found->get<bool>())) {
      continue;
    }
    throw Error(ErrorCode::unsupported, where + " sets " + key + " to " + in_quotes(found->dump()) +
                                            "; only the uncased BERT tokenizer is supported");
  }
}

void collect_named(const Json& json, const std::string& where, Added& added) {
  // The order in which transformers numbers new tokens.
  constexpr std::pair<const char*, std::string_view> kNames[] = {
      {"bos_token", ""},      {"eos_token", ""},      {"unk_token", "[UNK]"},
      {"sep_token", "[SEP]"}, {"pad_token", "[PAD]"}, {"cls_token", "[CLS]"},
      {"mask_token", ""}};
  for (const auto& [key, expected] : kNames) {
    const auto found = json.find(key);
    if (found == json.end() || found->is_null()) continue;
    std::string token = as_token(*found, where + ": " + key);
    if (!expected.empty() && token != expected) {
      throw Error(ErrorCode::unsupported, where + " should have " + in_quotes(expected) +
                                              " as its " + key + ", but has " + in_quotes(token));
    }
    added.without_id.push_back(std::move(token));
  }
}

void collect_lists(const Json& json, const std::string& where, Added& added) {
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    const auto found = json.find(key);
    if (found == json.end() || found->is_null()) continue;
    if (!found->is_structured()) damaged(where + " should have a list of tokens as " + key);
    for (const Json& entry : *found)
      added.without_id.push_back(as_token(entry, where + ": " + key));
  }
}

/// added_tokens_decoder: {"30522": {"content": "[DEC]", ...}}.
void collect_decoder(const Json& config, const std::string& where, Added& added) {
  const auto decoder = config.find("added_tokens_decoder");
  if (decoder == config.end() || decoder->is_null()) return;
  if (!decoder->is_object()) damaged(where + " should have an object as added_tokens_decoder");
  for (const auto& [key, value] : decoder->items()) {
    std::uint64_t id = kNoTokenId;
    const char* end = key.data() + key.size();
    const auto result = std::from_chars(key.data(), end, id);
    if (result.ec != std::errc() || result.ptr != end) id = kNoTokenId;
    added.add(id, as_token(value, where + ": added_tokens_decoder"), where);
  }
}

/// Adds to `vocab` what it does not have yet and returns all added tokens. New ids have to go on
/// from its last one.
std::vector<std::string> merge(const Added& added, Vocab& vocab, const fs::path& folder) {
  std::vector<std::string> tokens;
  for (const auto& [id, token] : added.with_id) {
    const int known = vocab.find(token);
    const int expected = known >= 0 ? known : vocab.add(token);
    if (id != static_cast<std::uint64_t>(expected)) {
      damaged(folder.string() + " gives the added token " + in_quotes(token) + " the id " +
              std::to_string(id) + ", but its vocabulary gives it " + std::to_string(expected));
    }
    tokens.push_back(token);
  }
  tokens.insert(tokens.end(), added.without_id.begin(), added.without_id.end());
  return tokens;
}

}  // namespace

TokenizerFolder read_tokenizer_folder(const fs::path& folder) {
  Added added;
  Vocab vocab;
  if (const fs::path file = folder / "vocab.txt"; is_there(file)) {
    vocab = parse_vocab_txt(read_text(file, kMaxVocabBytes), file.string());
  } else if (const fs::path json = folder / "tokenizer.json"; is_there(json)) {
    TokenizerJson parsed = parse_tokenizer_json(read_text(json, kMaxVocabBytes), json.string());
    vocab = std::move(parsed.vocab);
    for (const auto& [token, id] : parsed.added_tokens) added.add(id, token, json.string());
  } else {
    throw Error(ErrorCode::not_found,
                folder.string() + " should have a vocab.txt or a tokenizer.json, but has neither");
  }

  const fs::path config_file = folder / "tokenizer_config.json";
  const fs::path map_file = folder / "special_tokens_map.json";
  const fs::path added_file = folder / "added_tokens.json";
  const Json config = read_settings(config_file);
  const Json map = read_settings(map_file);
  check_config(config, config_file.string());
  collect_decoder(config, config_file.string(), added);
  const Json added_tokens = read_settings(added_file);
  for (const auto& [token, id] : added_tokens.items()) {
    added.add(as_id(id), token, added_file.string());
  }
  collect_named(config, config_file.string(), added);
  collect_named(map, map_file.string(), added);
  collect_lists(config, config_file.string(), added);
  collect_lists(map, map_file.string(), added);
  std::vector<std::string> tokens = merge(added, vocab, folder);
  return {std::move(vocab), std::move(tokens)};
}

}  // namespace blip
