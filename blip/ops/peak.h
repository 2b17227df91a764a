#pragma once

#include "blip/base/context.h"
#include "blip/base/precision.h"

namespace blip {

/// What this machine reaches now, to hold figures against. Each takes a fraction of a second.

/// Operations a second (a multiply-add counts as two) of all threads together that do nothing but
/// multiply and add in registers, with the instructions that active_isa() has for `precision`.
double measured_operations(Precision precision, const Context& context);

/// Bytes a second that all threads together read from memory.
double measured_bandwidth(const Context& context);

}  // namespace blip
