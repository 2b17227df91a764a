#pragma once

#include <string>

#include "blip/base/json.h"
#include "blip/tasks/capfilt_statistics.h"

namespace blip::cli {

/// A run as one HTML page that needs nothing else: what was kept, histograms of the scores, samples
/// (CapFiltSamples::to_json()). `report` is what the statistics file says.
std::string capfilt_page(const Json& report, const CapFiltStatistics& statistics,
                         const Json& samples);

}  // namespace blip::cli
