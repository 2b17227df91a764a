// Any names and shapes as an authors' .pth, any med_config.json beside it: an error or sizes that
// go together. The input is JSON: {"tensors": {NAME: SHAPE}, "med_config": ..., "vision_heads": N}.
#include "blip/checkpoint/authors_config.h"

#include <cstdint>
#include <string_view>

#include "blip/base/error.h"

namespace {

blip::TensorStore store_of(const blip::Json& shapes) {
  blip::TensorStore store;
  if (!shapes.is_object()) return store;
  for (const auto& [name, sizes] : shapes.items()) {
    blip::StoredTensor tensor;  // no bytes: only shapes are looked at
    for (const blip::Json& size : sizes) {
      if (size.is_number_integer()) tensor.shape.push_back(size.get<std::int64_t>());
    }
    // Like the readers of files, which let no other shape through.
    if (byte_count(tensor.dtype, tensor.shape)) store.add(name, std::move(tensor));
  }
  return store;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const blip::Json json = blip::parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    if (!json.is_object()) return 0;
    const auto part = [&](const char* key) {
      return json.contains(key) ? json.at(key) : blip::Json();
    };
    blip::AuthorsOptions options;
    if (const blip::Json heads = part("vision_heads"); heads.is_number_unsigned())
      options.vision_heads = static_cast<int>(heads.get<std::uint64_t>() % 100000);
    const blip::BlipConfig config =
        blip::authors_config(store_of(part("tensors")), part("med_config"), options);
    if (config.vision.hidden_size % config.vision.num_attention_heads != 0) __builtin_trap();
    if (config.text.hidden_size % config.text.num_attention_heads != 0) __builtin_trap();
    if (config.vision.image_size < config.vision.patch_size) __builtin_trap();
  } catch (const blip::Error&) {
  }
  return 0;
}
