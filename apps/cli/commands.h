#pragma once

#include <CLI/CLI.hpp>

namespace blip::cli {

/// Each adds its subcommand; the callback that CLI11 runs after parsing does the work and sets
/// `status` when it is not 0. Failures leave as blip::Error.
void add_caption_command(CLI::App& app, int& status);
void add_tokenize_command(CLI::App& app, int& status);
void add_preprocess_command(CLI::App& app, int& status);
void add_inspect_command(CLI::App& app, int& status);

}  // namespace blip::cli
