#pragma once

#include <string>
#include <vector>

#include "apps/cli/bootstrap_stage.h"

namespace blip::cli {

/// CapFilt's statistics, in its stage's folder: they are there when all parts are put together.
std::filesystem::path pairs_statistics(const std::filesystem::path& folder);

/// What came of the stages, all of them done: losses of training in its last step, the books of
/// CapFilt. Throws Error{io} for files that are not what the stages write.
Json bootstrap_report(const BootstrapStages& stages, const std::vector<BootstrapStage>& plan);

/// The same in a few lines, for people.
std::string bootstrap_table(const Json& report);

}  // namespace blip::cli
