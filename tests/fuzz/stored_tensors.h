#pragma once

#include <cstddef>

#include "blip/checkpoint/tensor_store.h"

namespace blip::fuzz {

/// Reads every byte of every tensor, and stops when a tensor has not the bytes that its shape
/// takes.
inline void read_all(const TensorStore& store) {
  unsigned sum = 0;
  for (const auto& [name, tensor] : store.tensors()) {
    for (const std::byte b : tensor.bytes) sum += static_cast<unsigned>(b);
    if (tensor.bytes.size() != element_count(tensor.shape) * size_of(tensor.dtype))
      __builtin_trap();
  }
  [[maybe_unused]] static volatile unsigned sink;
  sink = sum;
}

}  // namespace blip::fuzz
