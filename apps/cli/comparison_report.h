#pragma once

#include "blip/base/json.h"
#include "blip/tasks/comparison.h"

namespace blip::cli {

Json to_json(const ComparisonSummary& summary);

/// The figures and whether they pass, for people, on standard output.
void print_summary(const ComparisonSummary& summary);

}  // namespace blip::cli
