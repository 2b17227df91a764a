#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/flags.h"
#include "blip/base/error.h"
#include "blip/base/json.h"
#include "blip/checkpoint/checkpoint.h"
#include "blip/tasks/open_tokenizer.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip::cli {
namespace {

struct TokenizeFlags {
  std::vector<std::string> texts;
  bool decode = false;
  ModelFlags model;
  Format format = Format::text;
};

Tokenizer tokenizer_of(const std::filesystem::path& model) {
  std::error_code ignored;
  if (std::filesystem::is_directory(model, ignored)) return Tokenizer::from_folder(model);
  // How many heads a .pth's vision encoder has does not matter here, so any number that fits will
  // do.
  return open_tokenizer(open_checkpoint(model, {.vision_heads = 1}));
}

std::vector<int> parse_ids(const std::string& text) {
  std::vector<int> ids;
  std::size_t at = 0;
  while ((at = text.find_first_not_of(" \t,[]\r\n", at)) != std::string::npos) {
    const std::size_t end = std::min(text.find_first_of(" \t,[]\r\n", at), text.size());
    const std::string word = text.substr(at, end - at);
    if (word.size() > 9 || word.find_first_not_of("0123456789") != std::string::npos) {
      throw Error(ErrorCode::usage, in_quotes(word) + " is not a token id");
    }
    ids.push_back(std::stoi(word));
    at = end;
  }
  return ids;
}

void write_row(const Tokenizer& tokenizer, const TokenizeFlags& flags, const std::string& text) {
  const std::vector<int> ids = flags.decode ? parse_ids(text) : tokenizer.encode(text);
  const std::string decoded = flags.decode ? tokenizer.decode(ids) : text;
  if (flags.format == Format::text) {
    if (flags.decode) {
      std::printf("%s\n", decoded.c_str());
      return;
    }
    for (std::size_t i = 0; i < ids.size(); ++i) std::printf(i > 0 ? " %d" : "%d", ids[i]);
    std::printf("\n");
    return;
  }
  Json json = {{"text", decoded}, {"ids", ids}, {"tokens", Json::array()}};
  for (const int id : ids) json["tokens"].push_back(std::string(tokenizer.token(id)));
  std::printf("%s", dump(json).c_str());
}

void run(const TokenizeFlags& flags) {
  const Tokenizer tokenizer = tokenizer_of(flags.model.path());
  std::vector<std::string> texts = flags.texts;
  if (texts.empty()) {
    for (std::string line; std::getline(std::cin, line);) texts.push_back(line);
  }
  if (flags.format == Format::json) std::printf("[");
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (flags.format == Format::json) std::printf(i > 0 ? ",\n" : "\n");
    write_row(tokenizer, flags, texts[i]);
    if (flags.format == Format::jsonl) std::printf("\n");
  }
  if (flags.format == Format::json) std::printf("\n]\n");
}

}  // namespace

void add_tokenize_command(CLI::App& app, int&) {
  CLI::App* command =
      app.add_subcommand("tokenize", "Show the token ids of texts, or the text of ids");
  const auto flags = std::make_shared<TokenizeFlags>();
  command->add_option("TEXT", flags->texts, "texts (default: the lines of standard input)");
  command->add_flag("-d,--decode", flags->decode, "the arguments are ids; show their text");
  command
      ->add_option(
          "-m,--model", flags->model.model,
          "checkpoint whose vocabulary is used (default: the model that comes with the program)")
      ->envname("BLIP_MODEL");
  add_format_flag(*command, flags->format);
  command->callback([flags] { run(*flags); });
}

}  // namespace blip::cli
