// Any text as the JSON files of a checkpoint: an error or values within their stated ranges.
#include <cstdint>
#include <string_view>

#include "blip/base/error.h"
#include "blip/checkpoint/config.h"
#include "blip/generation/generation_json.h"
#include "blip/image/image_processor.h"

namespace {

template <class Function>
void survive(Function f) {
  try {
    f();
  } catch (const blip::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  blip::Json json;
  try {
    json = blip::parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const blip::Error&) {
    return 0;
  }
  survive([&] {
    const blip::BlipConfig config = blip::BlipConfig::from_json(json);
    if (config.vision.hidden_size % config.vision.num_attention_heads != 0) __builtin_trap();
    if (config.text.hidden_size % config.text.num_attention_heads != 0) __builtin_trap();
    if (config.vision.image_size < config.vision.patch_size) __builtin_trap();
  });
  survive([&] {
    const auto config = blip::ImageProcessorConfig::from_json(json);
    if (config.height < 1 || config.width < 1) __builtin_trap();
    const blip::ImageProcessor processor(config);
  });
  survive([&] {
    blip::GenerationConfig config;
    update_from_json(config, json);
    validate(config);
  });
  return 0;
}
