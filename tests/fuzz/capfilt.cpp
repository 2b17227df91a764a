// Any bytes as a record's provenance and as statistics, which a job that goes on reads again: an
// error, or what is written back as the same.
#include <cstdint>
#include <string_view>

#include "blip/base/error.h"
#include "blip/base/json.h"
#include "blip/tasks/capfilt_json.h"

namespace {

using namespace blip;

template <class Read>
void read_twice(const Json& json, const Read& read) {
  try {
    const Json once = to_json(read(json, "here"));
    if (dump(once) != dump(to_json(read(once, "here")))) __builtin_trap();
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Json json;
  try {
    json = parse_json({reinterpret_cast<const char*>(data), size}, "here");
  } catch (const Error&) {
    return 0;
  }
  read_twice(json, capfilt_record_from_json);
  read_twice(json, capfilt_statistics_from_json);
  return 0;
}
