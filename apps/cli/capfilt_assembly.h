#pragma once

#include <optional>

#include "apps/cli/capfilt_plan.h"
#include "blip/base/context.h"
#include "blip/tasks/capfilt_statistics.h"

namespace blip::cli {

/// Whether the whole was put together before, by the same run: what is left over is removed then.
/// Throws Error{usage} when it is another run's, naming what differs; Error{io}.
bool was_assembled(const CapFiltPlan& plan, const Json& run);

/// Notes which run the parts are of. Throws Error{usage} when those that are there are another's,
/// or when something else is where the output should be; Error{io}.
void begin_parts(const CapFiltPlan& plan, const Json& run);

/// Puts the whole together when every part is done: the file that was asked for, the statistics,
/// the page. Checks that the books balance. The statistics, or none while a part is missing or
/// another worker is at it. Throws Error{io}, Error{internal} for books that do not balance.
std::optional<CapFiltStatistics> assemble(const CapFiltPlan& plan, const Json& run,
                                          const Context& context);

}  // namespace blip::cli
