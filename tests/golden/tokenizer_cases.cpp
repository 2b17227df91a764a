// Group A: ids and texts of the reference's tokenizer, exact.
#include <algorithm>

#include "blip/tokenizer/tokenizer.h"
#include "tests/golden/golden.h"

namespace blip::golden {
namespace {

std::filesystem::path folder() {
  return root() / "A_tokenizer";
}

/// The plain tokenizer (no [DEC], [ENC]) of transformers' checkpoints.
const Tokenizer& plain() {
  static const Tokenizer tokenizer = Tokenizer::from_folder(resolve("tokenizer_hf"));
  return tokenizer;
}

/// With [DEC] and [ENC], as the authors use it.
const Tokenizer& with_dec_enc() {
  static const Tokenizer tokenizer = Tokenizer::bert_base_uncased();
  return tokenizer;
}

/// Runs `check` over every case of a file and fails with the ids of the first few that differ.
void for_each_case(const std::string& file, const std::function<bool(const Json&)>& check) {
  const Json cases = read_json(folder() / file).at("cases");
  ASSERT_FALSE(cases.empty()) << file;
  std::string wrong;
  std::size_t count = 0;
  for (const Json& one : cases) {
    try {
      if (check(one)) continue;
    } catch (const std::exception& error) {
      if (count < 10) wrong += std::string(" (") + error.what() + ")";
    }
    if (++count <= 10) wrong += " " + value_or(one, "id", Json("without id")).dump();
  }
  EXPECT_EQ(count, 0u) << count << " of " << cases.size() << " cases in " << file
                       << " differ:" << wrong;
}

void encode_plain_tokenizer() {
  for_each_case("encode.json", [](const Json& c) {
    return plain().encode(c.at("text").get<std::string>()) == c.at("ids").get<std::vector<int>>();
  });
}

void encode_with_dec_enc() {
  for_each_case("encode.json", [](const Json& c) {
    const Json& wanted = c.at(c.contains("ids_dec_enc") ? "ids_dec_enc" : "ids");
    return with_dec_enc().encode(c.at("text").get<std::string>()) == wanted.get<std::vector<int>>();
  });
}

void decode() {
  struct Variant {
    const char* field;
    const Tokenizer& (*tokenizer)();
    DecodeOptions options;
  };
  const Variant variants[] = {
      {"skip", plain, {true, false}},
      {"noskip", plain, {false, false}},
      {"skip_cleanup", plain, {true, true}},
      {"noskip_cleanup", plain, {false, true}},
      {"dec_enc_skip", with_dec_enc, {true, false}},
      {"dec_enc_noskip", with_dec_enc, {false, false}},
  };
  for (const Variant& variant : variants) {
    SCOPED_TRACE(variant.field);
    for_each_case("decode.json", [&](const Json& c) {
      if (!c.contains(variant.field)) return true;
      return variant.tokenizer().decode(c.at("ids").get<std::vector<int>>(), variant.options) ==
             c[variant.field].get<std::string>();
    });
  }
}

/// A keyword that is true or names a strategy other than `none`.
bool is_on(const Json& kwargs, const char* key, const char* none) {
  if (!kwargs.contains(key)) return false;
  const Json& value = kwargs.at(key);
  return value.is_string() ? value != none : value == true;
}

/// One text at a time, then padded as the case says: batches here are never padded.
bool batch_case(const Json& c) {
  const Json& kwargs = c.at("kwargs");
  const bool truncates = is_on(kwargs, "truncation", "do_not_truncate");
  const std::size_t max_length = value_or(kwargs, "max_length", std::size_t{512});
  std::vector<std::vector<int>> rows;
  std::size_t longest = 0;
  for (const Json& text : c.at("texts")) {
    const std::string string = text.get<std::string>();
    rows.push_back(truncates ? plain().encode_truncated(string, max_length)
                             : plain().encode(string));
    longest = std::max(longest, rows.back().size());
  }
  if (kwargs.contains("padding") && kwargs.at("padding") == "max_length")
    longest = std::max(longest, max_length);
  const bool pads = is_on(kwargs, "padding", "do_not_pad");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::vector<int> mask(rows[i].size(), 1);
    if (pads) {
      rows[i].resize(longest, plain().pad_id());
      mask.resize(longest, 0);
    }
    if (rows[i] != c.at("input_ids").at(i).get<std::vector<int>>()) return false;
    if (mask != c.at("attention_mask").at(i).get<std::vector<int>>()) return false;
  }
  return true;
}

}  // namespace

void register_tokenizer() {
  if (std::filesystem::exists(folder() / "encode.json")) {
    add_test("A_tokenizer", "encode", encode_plain_tokenizer);
    add_test("A_tokenizer", "encode_dec_enc", encode_with_dec_enc);
  }
  if (std::filesystem::exists(folder() / "decode.json")) add_test("A_tokenizer", "decode", decode);
  if (std::filesystem::exists(folder() / "batch.json")) {
    add_test("A_tokenizer", "batch", [] { for_each_case("batch.json", batch_case); });
  }
}

}  // namespace blip::golden
