#pragma once

#include <cstddef>

namespace blip {

/// Whether a piece of work of about so many multiply-adds is worth a parallel region. Where the
/// threads must wait for a core, beside another busy program, each region can cost a scheduler's
/// time slice, so small models had better not have any.
inline bool worth_threads(std::size_t multiply_adds) {
  return multiply_adds > 262144;
}

}  // namespace blip
