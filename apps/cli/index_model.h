#pragma once

#include <CLI/CLI.hpp>

#include "apps/cli/flags.h"
#include "blip/index/manifest.h"
#include "blip/tasks/engine.h"

namespace blip::cli {

/// The flags of models, with --help saying that the index names the default.
void add_model_flags_for_index(CLI::App& command, ModelFlags& flags);

/// The model that an index was made with, unless the flags name another; that it is the same is
/// checked by who uses both. Throws Error{not_found} when it is no longer there, and as
/// Engine::load does.
Engine load_engine_for(const IndexManifest& manifest, const ModelFlags& flags);

}  // namespace blip::cli
