#pragma once

#include <cstddef>

namespace blip {

/// a . b of `size` values in the order of the instruction set in use, serial.
using DotProduct = float (*)(const float* a, const float* b, std::size_t size);

/// The kernel of the active instruction set, for callers that take millions of single products of
/// vectors that lie anywhere. Where many lie together, see matmul_few_rows().
DotProduct dot_product();

}  // namespace blip
