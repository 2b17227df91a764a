#include "apps/server/mcp_tools.h"

#include <cstdio>
#include <utility>

#include "apps/server/base64.h"
#include "apps/server/page_files.h"
#include "blip/base/error.h"
#include "blip/base/file.h"

namespace blip::server {
namespace {

// mcp_tools.json has the definitions. Arguments have the names of the API's fields, but lists are
// in the plural.

Task task_of(const std::string& tool) {
  return tool == "caption"    ? Task::caption
         : tool == "describe" ? Task::describe
         : tool == "ask"      ? Task::vqa
                              : Task::match;
}

const char* field_of(const std::string& argument) {
  return argument == "questions" ? "question" : argument == "texts" ? "text" : argument.c_str();
}

std::string three_digits(const Json& number) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", number.get<double>());
  return text;
}

/// What a language model reads first.
std::string readable(Task task, const Json& result) {
  std::string lines;
  const auto add = [&](const std::string& line) { lines += (lines.empty() ? "" : "\n") + line; };
  if (task == Task::describe) return result.at("text").get<std::string>();
  if (task == Task::caption) {
    for (const Json& caption : result.at("captions")) add(caption.at("text").get<std::string>());
  }
  if (task == Task::vqa) {
    for (const Json& question : result.at("questions")) {
      std::string answers;
      for (const Json& answer : question.at("answers")) {
        answers += (answers.empty() ? "" : ", ") + answer.at("text").get<std::string>() + " (" +
                   three_digits(answer.at("probability")) + ")";
      }
      add(question.at("question").get<std::string>() + " " + answers);
    }
  }
  if (task == Task::match) {
    for (const Json& match : result.at("matches")) {
      std::string line = match.at("text").get<std::string>() + ":";
      if (match.contains("itm_probability"))
        line += " probability " + three_digits(match["itm_probability"]);
      if (match.contains("itc_similarity"))
        line += " similarity " + three_digits(match["itc_similarity"]);
      add(line);
    }
  }
  return lines;
}

/// Takes out what would only fill a language model's context: single tokens, what each prompt gave.
void shorten(Json& result) {
  for (const char* key : {"prompts", "rounds", "prompt_shortened", "length_limited"})
    result.erase(key);
  for (const char* key : {"captions", "questions"}) {
    if (!result.contains(key)) continue;
    for (Json& one : result[key]) {
      one.erase("tokens");
      if (!one.contains("answers")) continue;
      for (Json& answer : one["answers"]) answer.erase("tokens");
    }
  }
}

Json text_content(const std::string& text) {
  return Json::array({{{"type", "text"}, {"text", text}}});
}

}  // namespace

McpTools::McpTools(McpBackend backend, std::size_t file_bytes)
    : backend_(std::move(backend)), file_bytes_(file_bytes) {
  for (Json& tool : parse_json(mcp_tools_json(), "mcp_tools.json")) {
    if (!backend_.can(task_of(tool["name"]))) continue;
    if (file_bytes_ == 0) {
      Json& schema = tool["inputSchema"];
      schema["properties"].erase("path");
      schema["required"].push_back("image");
    }
    tool["annotations"] = {{"readOnlyHint", true}, {"openWorldHint", false}};
    list_.push_back(std::move(tool));
  }
}

const Json* McpTools::find(const std::string& name) const {
  for (const Json& tool : list_) {
    if (tool["name"] == name) return &tool;
  }
  return nullptr;
}

Json McpTools::call(const std::string& name, Json arguments, const Ticket& ticket,
                    const Events& events) const {
  try {
    return run(*find(name), std::move(arguments), ticket, events);
  } catch (const Error& e) {
    if (e.code() == ErrorCode::cancelled) throw;
    return {{"content", text_content(e.what())}, {"isError", true}};
  }
}

Json McpTools::run(const Json& tool, Json arguments, const Ticket& ticket,
                   const Events& events) const {
  const Json& known = tool["inputSchema"]["properties"];
  TaskInput input;
  for (const auto& [name, value] : arguments.items()) {
    if (!known.contains(name))
      throw Error(ErrorCode::usage, "the argument " + in_quotes(name) + " is not known");
  }
  input.images.push_back(picture(arguments));
  for (auto& [name, value] : arguments.items()) input.fields[field_of(name)] = std::move(value);
  const Task task = task_of(tool["name"]);
  Json result = backend_.run(task, std::move(input), ticket, events);
  shorten(result);
  return {{"content", text_content(readable(task, result))},
          {"structuredContent", std::move(result)}};
}

/// Takes the picture out of the arguments.
std::string McpTools::picture(Json& arguments) const {
  const auto take = [&](const char* name) {
    const auto found = arguments.find(name);
    if (found == arguments.end()) return Json();
    Json value = std::move(found.value());
    arguments.erase(found);
    if (!value.is_null() && !value.is_string())
      throw Error(ErrorCode::usage, "\"" + std::string(name) + "\" must be a text");
    return value;
  };
  const Json image = take("image");
  const Json path = take("path");
  if (image.is_null() == path.is_null()) {
    throw Error(ErrorCode::usage, file_bytes_ > 0 ? "either \"image\" or \"path\" must be given"
                                                  : "\"image\" must be given");
  }
  if (image.is_null()) return read_file(path.get_ref<const std::string&>(), file_bytes_);
  return decode_data_uri(image.get_ref<const std::string&>());
}

}  // namespace blip::server
