#include "blip/tasks/description_json.h"

#include <algorithm>
#include <numeric>

#include "blip/base/error.h"
#include "blip/base/json_field.h"
#include "blip/generation/generation_json.h"
#include "blip/tasks/description_text.h"

namespace blip {
namespace {

/// Insertions, deletions and exchanges of bytes that make one word of the other.
std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t exchanged = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, exchanged});
    }
  }
  return row.back();
}

/// The options of a recipe, such as "describe.num_beams".
template <class Options>
std::vector<std::string> names_of(const Options& options) {
  std::vector<std::string> names;
  const GenerationConfig generation;
  for_each_field(options, [&](const std::string& name, const auto& field) {
    using T = std::decay_t<decltype(field)>;
    if constexpr (std::is_same_v<T, ByDetail>) {
      for (const char* level : {".high", ".medium", ".low", ".off"}) names.push_back(name + level);
    } else if constexpr (std::is_same_v<T, PromptStage> || std::is_same_v<T, GenerationConfig>) {
      if constexpr (std::is_same_v<T, PromptStage>) names.push_back(name + ".prompts");
      for_each_field(generation, [&](const std::string& option, const auto&, const char*) {
        if (option != "seed") names.push_back(name + "." + option);  // the recipe has one for all
      });
    } else {
      names.push_back(name);
    }
  });
  return names;
}

/// The name, or the part of one before its dot, that is nearest to `wanted`; of a name also the
/// part after its dot counts.
std::string nearest(std::string_view wanted, const std::vector<std::string>& names) {
  wanted = wanted.substr(0, 64);  // longer than any
  std::string best;
  std::size_t least = SIZE_MAX;
  const auto offer = [&](std::string_view name, std::string_view part) {
    const std::size_t distance = edits(wanted, part);
    if (distance >= least) return;
    least = distance;
    best = name;
  };
  for (const std::string_view name : names) {
    const std::size_t dot = name.find('.');
    offer(name, name);
    offer(name.substr(0, dot), name.substr(0, dot));
    if (dot != std::string_view::npos) offer(name, name.substr(dot + 1));
  }
  return best;
}

/// Throws Error{usage} for a key that is none of `names`; `path` is the way to `json`, such as
/// "describe.".
void check_keys(const Json& json, const std::string& path, const std::vector<std::string>& names) {
  if (!json.is_object()) {
    throw Error(ErrorCode::usage, "the options of a recipe must be a JSON object" +
                                      (path.empty() ? "" : " below " + in_quotes(path)) +
                                      ", but are " + in_quotes(dump(json)));
  }
  for (const auto& [key, value] : json.items()) {
    std::string name = path + key;
    if (std::ranges::find(names, name) != names.end()) continue;
    const bool above = std::ranges::any_of(
        names, [&](const std::string& other) { return other.starts_with(name + "."); });
    if (!above) {
      if (value.is_object() && !value.empty()) name += "." + value.begin().key();
      throw Error(ErrorCode::usage, "there is no option " + in_quotes(name) +
                                        " in this recipe; the nearest is " + nearest(name, names));
    }
    check_keys(value, name + ".", names);
  }
}

/// `json`, an object, with "describe.num_beams" as num_beams in "describe".
Json nested(const Json& json) {
  Json result = Json::object();
  for (const auto& [key, value] : json.items()) {
    const std::size_t dot = key.find('.');
    Json& place = result[key.substr(0, dot)];
    const Json part =
        dot == std::string::npos ? value : Json::object({{key.substr(dot + 1), value}});
    if (place.is_object() && part.is_object()) {
      place.update(part);
    } else {
      place = part;
    }
  }
  return result;
}

void read(const Json& json, GenerationConfig& config) {
  if (json.contains("max_length")) config.max_new_tokens.reset();
  if (json.contains("min_length")) config.min_new_tokens.reset();
  update_from_json(config, json);
}

void read(const Json& json, std::vector<std::string>& field) {
  if (json.is_string()) {
    field = {json.get<std::string>()};
  } else {
    read_field(json, field);
  }
}

void read(const Json& json, PromptStage& stage) {
  if (json.contains("prompts")) read(json["prompts"], stage.prompts);
  read(json, stage.generation);
}

void read(const Json& json, ByDetail& numbers) {
  if (json.contains("high")) read_field(json["high"], numbers.high);
  if (json.contains("medium")) read_field(json["medium"], numbers.medium);
  if (json.contains("low")) read_field(json["low"], numbers.low);
  if (json.contains("off")) read_field(json["off"], numbers.off);
}

template <class T>
void read(const Json& json, T& number) {
  read_field(json, number);
}

template <class Options>
void update(Options& options, const Json& given) {
  const Json json = given.is_object() ? nested(given) : given;
  check_keys(json, "", names_of(options));
  Options updated = options;
  for_each_field(updated, [&](const char* name, auto& field) {
    const auto found = json.find(name);
    if (found == json.end()) return;
    try {
      read(*found, field);
    } catch (const Error& e) {
      throw Error(ErrorCode::usage, e.what());
    } catch (const std::exception&) {
      throw Error(ErrorCode::usage, "the option " + std::string(name) + " of a recipe cannot be " +
                                        in_quotes(dump(*found)));
    }
  });
  options = std::move(updated);
}

Json value_of(const GenerationConfig& config) {
  Json json = to_json(config);
  json.erase("seed");
  return json;
}

Json value_of(const PromptStage& stage) {
  Json json = {{"prompts", stage.prompts}};
  json.update(value_of(stage.generation));
  return json;
}

Json value_of(const ByDetail& numbers) {
  return {{"high", numbers.high},
          {"medium", numbers.medium},
          {"low", numbers.low},
          {"off", numbers.off}};
}

template <class T>
Json value_of(const T& value) {
  return value;
}

template <class Options>
Json all_of(const Options& options) {
  Json json = Json::object();
  for_each_field(options,
                 [&](const char* name, const auto& field) { json[name] = value_of(field); });
  return json;
}

Json to_json(const DescriptionPrompt& prompt) {
  return {{"stage", name(prompt.stage)},   {"round", prompt.round},
          {"prompt", prompt.prompt},       {"texts", prompt.texts},
          {"shortened", prompt.shortened}, {"skipped", prompt.skipped}};
}

}  // namespace

Json to_json(const ClassicOptions& options) {
  return all_of(options);
}

Json to_json(const FaithfulOptions& options) {
  return all_of(options);
}

void update_from_json(ClassicOptions& options, const Json& json) {
  update(options, json);
}

void update_from_json(FaithfulOptions& options, const Json& json) {
  update(options, json);
}

Json to_json(const Description& description) {
  const bool faithful = description.recipe == DescriptionRecipe::faithful;
  Json json = {{"recipe", faithful ? "faithful" : "classic"},
               {"text", description.text},
               {"words", count_words(description.text)},
               {"characters", count_characters(description.text)},
               {"rounds", description.rounds}};
  if (faithful) {
    Json sentences = Json::array();
    for (const DescriptionSentence& sentence : description.sentences)
      sentences.push_back({{"text", sentence.text}, {"confidence", sentence.confidence}});
    json["sentences"] = std::move(sentences);
    json["confidence"] = name(*description.confidence);
  }
  json["polished"] = description.unpolished.has_value();
  if (description.unpolished) json["unpolished"] = *description.unpolished;
  if (!description.polish_error.empty()) json["polish_error"] = description.polish_error;
  json["prompt_shortened"] = description.prompt_shortened();
  json["length_limited"] = description.length_limited;
  Json prompts = Json::array();
  for (const DescriptionPrompt& prompt : description.prompts) prompts.push_back(to_json(prompt));
  json["prompts"] = std::move(prompts);
  return json;
}

}  // namespace blip
