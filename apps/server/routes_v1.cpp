#include <string>
#include <utility>

#include "apps/server/api.h"

namespace blip::server {
namespace {

/// Whole, or as a stream of events when the request asks for that.
void run_task(Service& service, Task task, Exchange& exchange) {
  HttpRequest& request = exchange.request();
  TaskInput input = read_task_input(request.header("Content-Type"), request.query,
                                    std::exchange(request.body, {}));
  Fields fields(std::move(input.fields), service.text_limits());
  const bool asked = fields.flag("stream").value_or(false);
  input.fields = std::move(fields).rest();
  if (!asked && request.header("Accept").find("text/event-stream") == std::string_view::npos)
    return exchange.send(json_response(service.run(task, std::move(input), exchange.ticket())));
  exchange.begin(event_stream());
  const Events events = [&](const char* event, const Json& data) {
    if (!exchange.congested()) exchange.write(server_sent_event(event, data));
  };
  const Json result = service.run(task, std::move(input), exchange.ticket(), events);
  exchange.write(server_sent_event("result", result));
}

}  // namespace

void add_v1_routes(Router& router, Service& service) {
  for (const Task task : kTasks) {
    const std::string path = std::string("/v1/") + name(task);
    router.work("POST", path.c_str(), [&service, task](Exchange& exchange, const Captures&) {
      run_task(service, task, exchange);
    });
  }
}

}  // namespace blip::server
