// A line of JSON as options of either recipe, and any texts after it as what the model says: an
// error, or a description that keeps to the rules.
#include <cstdint>
#include <string>
#include <string_view>

#include "blip/base/error.h"
#include "blip/tasks/description.h"
#include "blip/tasks/description_json.h"
#include "blip/tasks/description_text.h"
#include "blip/tokenizer/unicode.h"

namespace {

using namespace blip;

void require(bool holds) {
  if (!holds) __builtin_trap();
}

/// Says the lines of a text, one after the other.
DescriptionModel model_of(std::string_view lines) {
  DescriptionModel model;
  model.most_tokens = 40;
  model.prompt_tokens = [](const std::string& prompt) { return count_words(prompt) + 1; };
  model.caption = [left = lines, lines](std::span<const CaptionRequest> requests,
                                        std::span<const CaptionOptions> options, const Context&,
                                        const WritingListener& listener) mutable {
    if (listener) listener(std::vector<double>(requests.size(), 0.5));
    std::vector<std::vector<Caption>> captions;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      require(count_words(requests[i].prompt) + 1 < 40);
      validate(options[i].generation);
      if (left.empty()) left = lines;
      const std::size_t end = left.find('\n');
      Caption caption;
      // As a tokenizer decodes: always UTF-8.
      for (std::string_view line = left.substr(0, end); !line.empty();)
        append_utf8(caption.text, take_char(line));
      left.remove_prefix(end == std::string_view::npos ? left.size() : end + 1);
      caption.finished = caption.text.size() % 2 == 0;
      caption.tokens.resize(1, {0, "", -0.01f * static_cast<float>(caption.text.size() % 100)});
      captions.push_back({std::move(caption)});
    }
    return captions;
  };
  return model;
}

void check(const Description& description) {
  require(is_utf8(description.text));
  for (const DescriptionSentence& sentence : description.sentences)
    require(!sentence.text.empty() && sentence.confidence >= 0 && sentence.confidence <= 1);
  to_json(description).dump();
}

template <class Options>
void run(const Json& json, std::string_view lines, DescriptionOptions options,
         Options DescriptionOptions::*recipe) {
  try {
    update_from_json(options.*recipe, json);
    Options again;
    update_from_json(again, to_json(options.*recipe));
    const DescriptionListener listener = [](const DescriptionProgress& progress) {
      require(progress.done <= progress.of && progress.share >= 0 && progress.share <= 1);
    };
    check(Describer(model_of(lines)).describe({}, options, listener));
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 4096) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = input.find('\n');
  const std::string_view lines =
      end == std::string_view::npos ? std::string_view() : input.substr(end + 1);
  Json json = Json::object();
  try {
    json = parse_json(input.substr(0, end), "fuzz");
  } catch (const Error&) {
    // The texts are of use with the recipes' own options.
  }
  DescriptionOptions options;
  run(json, lines, options, &DescriptionOptions::classic);
  options.recipe = DescriptionRecipe::faithful;
  run(json, lines, options, &DescriptionOptions::faithful);
  return 0;
}
