#pragma once

#include <atomic>

namespace blip::cli {

/// After this, SIGINT and SIGTERM set stop_requested() instead of ending the process, so that what
/// is finished is written whole; a second one ends it at once.
void install_stop_handler();

/// For Context::stop.
const std::atomic<bool>& stop_requested();

}  // namespace blip::cli
