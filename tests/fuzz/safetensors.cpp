// Any bytes as a .safetensors file: an error or tensors whose every byte may be read.
#include "blip/checkpoint/safetensors.h"

#include <cstdint>
#include <span>

#include "blip/base/error.h"
#include "tests/fuzz/stored_tensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    blip::TensorStore store;
    blip::read_safetensors(std::as_bytes(std::span(data, size)), nullptr, "fuzz", store);
    blip::fuzz::read_all(store);
  } catch (const blip::Error&) {
  }
  return 0;
}
