#pragma once

#include "blip/base/context.h"
#include "blip/base/precision.h"

namespace blip {

/// What this machine reaches now, to hold figures against. Each takes a fraction of a second.

/// Operations a second (a multiply-add counts as two) of a large square product in `precision`.
double measured_operations(Precision precision, const Context& context);

/// Bytes a second that all threads together read from memory.
double measured_bandwidth(const Context& context);

}  // namespace blip
