// Any bytes as a .safetensors file: an error or tensors whose every byte may be read.
#include <cstdint>
#include <span>

#include "blip/base/error.h"
#include "blip/checkpoint/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    blip::TensorStore store;
    blip::read_safetensors(std::as_bytes(std::span(data, size)), nullptr, "fuzz", store);
    unsigned sum = 0;
    for (const auto& [name, tensor] : store.tensors()) {
      for (const std::byte b : tensor.bytes) sum += static_cast<unsigned>(b);
      if (tensor.bytes.size() != blip::element_count(tensor.shape) * size_of(tensor.dtype))
        __builtin_trap();
    }
    static volatile unsigned sink;
    sink = sum;
  } catch (const blip::Error&) {
  }
  return 0;
}
