#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "apps/server/service.h"
#include "apps/server/task_input.h"
#include "blip/base/json.h"

namespace blip::server {

/// What tools stand on: a Service, or what a test puts in its place.
struct McpBackend {
  std::function<bool(Task)> can;
  std::function<Json(Task, TaskInput, const Ticket&, const Events&)> run;  ///< as Service::run()
};

/// The tools that the Model Context Protocol offers to language models: caption, describe, ask and
/// match, each where the model for it is loaded. Safe to share between threads.
class McpTools {
 public:
  /// `file_bytes`: of a picture that may be named by its path; 0: paths are not taken, because the
  /// client is not the user of this machine.
  McpTools(McpBackend backend, std::size_t file_bytes);

  /// The definitions, as tools/list shows them.
  const Json& list() const { return list_; }
  bool has(const std::string& name) const { return find(name) != nullptr; }

  /// Calls the tool `name`, which must be there: {"content", "structuredContent"}, or {"content",
  /// "isError": true} for what the one who called it can mend. Throws Error{cancelled}.
  Json call(const std::string& name, Json arguments, const Ticket& ticket,
            const Events& events) const;

 private:
  const Json* find(const std::string& name) const;
  Json run(const Json& tool, Json arguments, const Ticket& ticket, const Events& events) const;
  std::string picture(Json& arguments) const;

  McpBackend backend_;
  std::size_t file_bytes_;
  Json list_ = Json::array();
};

}  // namespace blip::server
