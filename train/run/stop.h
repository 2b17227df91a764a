#pragma once

#include <atomic>

namespace blip::train {

/// After this, SIGINT and SIGTERM set stop_requested() instead of ending the process, so that a
/// checkpoint can be written; a second one ends it at once.
void install_stop_handler();

const std::atomic<bool>& stop_requested();

}  // namespace blip::train
