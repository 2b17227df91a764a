#pragma once

#include <cstddef>
#include <cstdint>

namespace blip {

/// a . b of `size` values in the order of the instruction set in use, serial.
using DotProduct = float (*)(const float* a, const float* b, std::size_t size);

/// The kernel of the active instruction set, for callers that take millions of single products of
/// vectors that lie anywhere. Where many lie together, see matmul_few_rows().
DotProduct dot_product();

/// The same for 16-bit and 8-bit integers: exact, if the sum of |a| |b| is below 2^31.
using CodeProduct = std::int32_t (*)(const std::int16_t* a, const std::int8_t* b, std::size_t size);
CodeProduct code_product();

}  // namespace blip
