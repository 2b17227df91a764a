#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "apps/server/service.h"

/// What the fronts that speak other services' protocols have in common.
namespace blip::server {

/// The tasks whose results are texts.
inline constexpr Task kWritingTasks[] = {Task::caption, Task::describe, Task::vqa};

/// A task, and the model that is to do it: none where no model that can is loaded.
struct Choice {
  Task task;
  std::optional<std::string> model;
};

/// What a model's name asks for: "ID" or "ID:TASK", where the task is caption, describe or vqa;
/// "blip" and "" are any model that can. Without a task, a question goes to vqa if the model can do
/// that, and everything else to caption if it can. Throws Error{not_found} for an unknown id.
Choice choose(const Service& service, std::string_view name, bool question);

/// The generation options that are in `json`, by transformers' names; nothing else.
Json generation_options(const Json& json);
/// Those of the task that are there: a description's, else the generation's.
Json task_options(Task task, const Json& json);

/// The member `name` of `json`; null where that is no object or has none.
const Json& member(const Json& json, const char* name);
/// The picture that `value`, called `name`, holds in base64 or as a data URI. Throws Error{usage}.
std::string picture_in(const Json& value, const char* name);

/// What the result of such a task says, best first: an array of objects with "text"; but for
/// descriptions also with "finished" and "tokens", of answers with "probability".
Json texts_of(Task task, const Json& result);

/// 128 random bits in hexadecimal digits.
std::string random_key();

}  // namespace blip::server
