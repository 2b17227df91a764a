// Any bytes as a request to the service: the first line is the
// Content-Type, the second the query, the rest the body. An error, or fields and pictures, which
// can be written as JSON again.
#include <cstdint>
#include <string>
#include <string_view>

#include "apps/server/fields.h"
#include "apps/server/task_input.h"
#include "blip/base/error.h"

namespace {

std::string_view take_line(std::string_view& rest) {
  const std::size_t end = rest.find('\n');
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return line;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const std::string_view content_type = take_line(rest);
  const std::string_view query = take_line(rest);
  try {
    blip::server::TaskInput input =
        blip::server::read_task_input(content_type, query, std::string(rest));
    blip::dump(input.fields);
    blip::server::Fields fields(std::move(input.fields), {.count = 4, .bytes = 64});
    fields.text("text");
    fields.texts("texts");
    fields.flag("flag");
    fields.integer("integer", -100, 100);
    fields.number("number", -1, 1);
    blip::GenerationConfig config;
    fields.apply_to(config);
    fields.refuse_the_rest();
  } catch (const blip::Error&) {
  }
  return 0;
}
