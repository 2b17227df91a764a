// Any bytes as a message of the Model Context Protocol: the first three lines are the headers that
// say its version, its method and its tool, the rest is the message. An answer, or none, as
// JSON-RPC has them.
#include <cstdint>
#include <string>
#include <string_view>

#include "apps/server/mcp.h"
#include "blip/base/error.h"

namespace {

using blip::Json;
using blip::server::McpCall;
using blip::server::Task;

void require(bool holds) {
  if (!holds) __builtin_trap();
}

std::string take_line(std::string_view& rest) {
  const std::size_t end = rest.find('\n');
  std::string line(rest.substr(0, end));
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return line;
}

/// What the service would find.
Json result_of(Task task) {
  switch (task) {
    case Task::caption:
      return {{"captions", Json::array({{{"text", "a dog"}, {"tokens", Json::array()}}})}};
    case Task::describe:
      return {{"text", "A dog."}, {"prompts", Json::array()}};
    case Task::vqa:
      return Json::parse(R"({"questions": [{"question": "what?", "answers": [
          {"text": "a dog", "probability": 0.5, "tokens": []}]}]})");
    default:
      return Json::parse(R"({"matches": [{"text": "a dog", "itm_probability": 0.9}]})");
  }
}

Json run(Task task, blip::server::TaskInput input, const blip::server::Ticket& ticket,
         const blip::server::Events& events) {
  require(input.images.size() == 1 && !input.fields.contains("image"));
  ticket.check();
  if (events) events("progress", {{"stage", "prompts"}, {"rounds", 2}, {"done", 1}, {"of", 4}});
  blip::server::Fields fields(std::move(input.fields), {.count = 4, .bytes = 64});
  fields.text("prompt");
  fields.texts("question");
  fields.texts("text");
  return result_of(task);
}

void check_answer(const Json& answer) {
  require(answer.is_object() && answer.at("jsonrpc") == "2.0" && answer.contains("id"));
  require(answer.contains("result") != answer.contains("error"));
  blip::dump(answer);
}

blip::server::Mcp& mcp() {
  static blip::server::Mcp made(blip::server::McpTools({[](Task) { return true; }, run}, 0));
  return made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const std::string version = take_line(rest);
  blip::server::McpHeaders headers{take_line(rest), take_line(rest)};
  Json message;
  try {
    message = blip::server::parse_request_json(rest);
  } catch (const blip::Error&) {
    return 0;
  }
  blip::server::Ticket ticket;
  McpCall call{ticket, "client", version};
  if (!headers.method.empty()) call.headers = headers;
  call.notify = [](const Json& notification) {
    require(notification.at("method") == "notifications/progress");
    blip::dump(notification);
  };
  const auto tracked =
      mcp().track(message, "client", [&] { ticket.end(blip::server::Ending::cancelled); });
  const bool batch = message.is_array();
  const Json answer = mcp().answer(std::move(message), call);
  if (answer.is_array()) {
    require(batch && !answer.empty());
    for (const Json& one : answer) check_answer(one);
  } else if (!answer.is_null()) {
    check_answer(answer);
  }
  return 0;
}
