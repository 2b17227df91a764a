#pragma once

// For tests: tools without a model, and messages to them.

#include <functional>
#include <set>
#include <string>
#include <utility>

#include "apps/server/mcp.h"

namespace blip::server {

inline const std::string kPicture = "aGVsbG8=";  // "hello"

/// Says what it was asked in place of a model.
struct Stage {
  std::set<Task> tasks = {Task::caption, Task::describe, Task::vqa, Task::match};
  std::function<Json(Task, const TaskInput&, const Ticket&, const Events&)> act =
      [](Task, const TaskInput&, const Ticket&, const Events&) {
        return Json{
            {"captions",
             {{{"text", "a cat"}, {"score", -1.5}, {"finished", true}, {"tokens", {1, 2, 3}}}}}};
      };

  Mcp mcp(std::size_t file_bytes = 0) const {
    return Mcp(McpTools({[this](Task task) { return tasks.contains(task); },
                         [this](Task task, TaskInput input, const Ticket& ticket,
                                const Events& events) { return act(task, input, ticket, events); }},
                        file_bytes));
  }
};

inline Json request(const std::string& method, Json params = Json::object(), Json id = 1) {
  return {
      {"jsonrpc", "2.0"}, {"id", std::move(id)}, {"method", method}, {"params", std::move(params)}};
}

inline Json caption(Json arguments = {{"image", kPicture}}) {
  return {{"name", "caption"}, {"arguments", std::move(arguments)}};
}

}  // namespace blip::server
