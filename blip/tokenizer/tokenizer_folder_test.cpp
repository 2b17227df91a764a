#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "blip/base/error.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip {
namespace {

using Ids = std::vector<int>;

constexpr std::string_view kVocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ndog\n##s\n";

/// A folder of its own for each test.
class TokenizerFolder : public testing::Test {
 protected:
  TokenizerFolder() { std::filesystem::create_directories(folder_); }
  ~TokenizerFolder() override { std::filesystem::remove_all(folder_); }

  void write(const char* name, std::string_view text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }

  Tokenizer load() const { return Tokenizer::from_folder(folder_); }

  ErrorCode failure() const {
    try {
      load();
    } catch (const Error& e) {
      return e.code();
    }
    return ErrorCode::internal;
  }

  /// What comes of a good vocab.txt beside one other file.
  ErrorCode failure_with(const char* name, std::string_view text) const {
    write("vocab.txt", kVocab);
    write(name, text);
    const ErrorCode code = failure();
    std::filesystem::remove(folder_ / name);
    return code;
  }

  ErrorCode failure_of_json(std::string_view text) const {
    write("tokenizer.json", text);
    return failure();
  }

  std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) /
      ("blip_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()) +
       std::to_string(::getpid()));
};

TEST_F(TokenizerFolder, ReadsAVocabulary) {
  write("vocab.txt", kVocab);
  const Tokenizer tokenizer = load();
  EXPECT_EQ(tokenizer.vocab_size(), 8u);
  EXPECT_EQ(tokenizer.encode("A [MASK] dogs"), (Ids{2, 5, 4, 6, 7, 3}));
}

TEST_F(TokenizerFolder, ReadsTokenizerJson) {
  write("tokenizer.json", R"({"version": "1.0",
    "added_tokens": [{"id": 0, "content": "[PAD]", "special": true}, {"id": 7, "content": "[DEC]"},
                     {"content": "[ENC]", "flags": {"id": 99, "content": "no"}, "id": 8}],
    "normalizer": {"type": "BertNormalizer", "vocab": {"x": 1}},
    "model": {"type": "WordPiece", "continuing_subword_prefix": "##", "unk_token": "[UNK]",
      "vocab": {"dog": 4, "[SEP]": 3, "[CLS]": 2, "##\u00e9s": 5, "[UNK]": 1, "[PAD]": 0, "\"": 6}}})");
  const Tokenizer tokenizer = load();
  EXPECT_EQ(tokenizer.vocab_size(), 9u);
  EXPECT_EQ(tokenizer.token(5), "##\u00E9s");
  EXPECT_EQ(tokenizer.encode("dog\"[ENC][DEC]"), (Ids{2, 4, 6, 8, 7, 3}));
}

TEST_F(TokenizerFolder, PrefersVocabTxt) {
  write("vocab.txt", kVocab);
  write("tokenizer.json", "not JSON");
  EXPECT_EQ(load().vocab_size(), 8u);
}

TEST_F(TokenizerFolder, AddsTokensFromAddedTokensJson) {
  write("vocab.txt", kVocab);
  write("added_tokens.json", R"({"[ENC]": 9, "[DEC]": 8, "dog": 6})");
  const Tokenizer tokenizer = load();
  EXPECT_EQ(tokenizer.encode("[ENC]a[DEC]"), (Ids{2, 9, 5, 8, 3}));
  EXPECT_EQ(tokenizer.decode(Ids{9, 5, 8, 6}), "a") << "all added tokens are special";
}

TEST_F(TokenizerFolder, NumbersNamedTokensFirst) {
  write("vocab.txt", kVocab);
  write("special_tokens_map.json",
        R"({"additional_special_tokens": ["[ENC]"], "bos_token": {"content": "[DEC]"},
            "cls_token": "[CLS]", "eos_token": null})");
  EXPECT_EQ(load().encode("[ENC][DEC]"), (Ids{2, 9, 8, 3}));
}

TEST_F(TokenizerFolder, AddsTokensFromTheConfig) {
  write("vocab.txt", kVocab);
  write("tokenizer_config.json",
        R"({"added_tokens_decoder": {"0": {"content": "[PAD]"}, "8": {"content": "[DEC]"}},
            "extra_special_tokens": ["[DEC]", {"content": "[ENC]"}], "do_lower_case": true,
            "strip_accents": null, "mask_token": "[MASK]"})");
  const Tokenizer tokenizer = load();
  EXPECT_EQ(tokenizer.vocab_size(), 10u);
  EXPECT_EQ(tokenizer.encode("[ENC][DEC]"), (Ids{2, 9, 8, 3}));
}

TEST_F(TokenizerFolder, MarksVocabularyEntriesAsSpecial) {
  write("vocab.txt", std::string(kVocab) + "[DEC]\n");
  EXPECT_EQ(load().encode("[DEC]"), (Ids{2, 1, 1, 1, 3}));
  write("tokenizer_config.json", R"({"extra_special_tokens": {"start": "[DEC]"}})");
  EXPECT_EQ(load().encode("[DEC]"), (Ids{2, 8, 3}));
}

TEST_F(TokenizerFolder, NeedsAVocabulary) {
  EXPECT_EQ(failure(), ErrorCode::not_found);
  write("tokenizer_config.json", "{}");
  EXPECT_EQ(failure(), ErrorCode::not_found);
  EXPECT_THROW(Tokenizer::from_folder(folder_ / "missing"), Error);
}

TEST_F(TokenizerFolder, RefusesOtherKinds) {
  EXPECT_EQ(failure_with("tokenizer_config.json", R"({"do_lower_case": false})"),
            ErrorCode::unsupported);
  EXPECT_EQ(failure_with("tokenizer_config.json", R"({"strip_accents": false})"),
            ErrorCode::unsupported);
  EXPECT_EQ(failure_with("special_tokens_map.json", R"({"cls_token": "<s>"})"),
            ErrorCode::unsupported);
  std::filesystem::remove(folder_ / "vocab.txt");
  EXPECT_EQ(failure_of_json(R"({"model": {"type": "BPE", "vocab": {"a": 0}}})"),
            ErrorCode::unsupported);
  EXPECT_EQ(failure_of_json(R"({"model": {"type": 1, "vocab": {"a": 0}}})"),
            ErrorCode::unsupported);
  EXPECT_EQ(failure_of_json(R"({"model": {"continuing_subword_prefix": "@", "vocab": {}}})"),
            ErrorCode::unsupported);
}

TEST_F(TokenizerFolder, RefusesDamagedTokenizerJson) {
  const auto with_dog = [&](std::string_view dog) {
    return failure_of_json(
        R"({"model": {"vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3)" +
        std::string(dog) + "}}}");
  };
  EXPECT_EQ(with_dog(R"(, "dog": 4)"), ErrorCode::internal) << "this one is good";
  for (const char* dog :
       {R"(, "dog": 5)", R"(, "dog": 3)", R"(, "dog": -1)", R"(, "dog": 18446744073709551616)",
        R"(, "dog": 4294967300)", R"(, "dog": 4.0)", R"(, "dog": "4")", R"(, "dog": null)",
        R"(, "dog": [4], "x": 5)", R"(, "[SEP]": 4)", R"(, "dog": 1e999)"}) {
    EXPECT_EQ(with_dog(dog), ErrorCode::bad_model) << dog;
  }
  for (const char* text :
       {"", "{", "[]", "3", "{}", R"({"model": 1})", R"({"model": []})",
        R"({"model": {"vocab": []}})", R"({"model": {"vocab": [["[PAD]", 0]]}})",
        R"({"model": {"vocab": {"a": 0}}})", "{\"model\": {\"vocab\": {\"\xFF\": 0}}}"}) {
    EXPECT_EQ(failure_of_json(text), ErrorCode::bad_model) << text;
  }
  EXPECT_EQ(failure_of_json(std::string(1000000, '[')), ErrorCode::bad_model);
}

TEST_F(TokenizerFolder, RefusesAddedTokensThatDoNotFit) {
  for (const char* text :
       {R"({"[DEC]": 9})", R"({"[DEC]": 3})", R"({"[DEC]": -1})", R"({"[DEC]": 8, "[ENC]": 8})",
        R"({"[DEC]": 8, "[ENC]": 4294967304})", R"({"dog": 8})", R"({"[DEC]": "8"})", R"({"": 8})",
        R"(["[DEC]"])", "8", ""}) {
    EXPECT_EQ(failure_with("added_tokens.json", text), ErrorCode::bad_model) << text;
  }
  for (const char* text :
       {R"({"added_tokens_decoder": {"x": {"content": "[DEC]"}}})",
        R"({"added_tokens_decoder": {"8x": {"content": "[DEC]"}}})",
        R"({"added_tokens_decoder": {"99999999999999999999": {"content": "[DEC]"}}})",
        R"({"added_tokens_decoder": {"8": {"content": "[DEC]"}, "9": {"content": "[DEC]"}}})",
        R"({"added_tokens_decoder": {"8": {"special": true}}})", R"({"added_tokens_decoder": [1]})",
        R"({"extra_special_tokens": "[DEC]"})", R"({"extra_special_tokens": [8]})",
        R"({"bos_token": 8})"}) {
    EXPECT_EQ(failure_with("tokenizer_config.json", text), ErrorCode::bad_model) << text;
  }
}

TEST_F(TokenizerFolder, RefusesFilesThatAreTooLarge) {
  write("vocab.txt", std::string(kVocab) + std::string(std::size_t{17} << 20, 'x'));
  EXPECT_EQ(failure(), ErrorCode::bad_model);
  EXPECT_EQ(failure_with("tokenizer_config.json", std::string(std::size_t{2} << 20, ' ')),
            ErrorCode::bad_model);
}

}  // namespace
}  // namespace blip
