#pragma once

#include <CLI/CLI.hpp>

namespace blip::cli {

/// Each adds its subcommand; the callback that CLI11 runs after parsing does the work and sets
/// `status` when it is not 0. Failures leave as blip::Error.
void add_caption_command(CLI::App& app, int& status);
void add_describe_command(CLI::App& app, int& status);
void add_capfilt_command(CLI::App& app, int& status);
void add_bootstrap_command(CLI::App& app, int& status);
void add_vqa_command(CLI::App& app, int& status);
void add_match_command(CLI::App& app, int& status);
void add_nlvr_command(CLI::App& app, int& status);
void add_embed_command(CLI::App& app, int& status);
void add_heatmap_command(CLI::App& app, int& status);
void add_index_command(CLI::App& app, int& status);
void add_search_command(CLI::App& app, int& status);
void add_classify_command(CLI::App& app, int& status);
void add_eval_command(CLI::App& app, int& status);
void add_serve_command(CLI::App& app, int& status);
void add_mcp_command(CLI::App& app, int& status);
void add_tokenize_command(CLI::App& app, int& status);
void add_preprocess_command(CLI::App& app, int& status);
void add_inspect_command(CLI::App& app, int& status);
void add_convert_command(CLI::App& app, int& status);
void add_quantize_command(CLI::App& app, int& status);
void add_compare_command(CLI::App& app, int& status);
void add_bench_command(CLI::App& app, int& status);
void add_train_command(CLI::App& app, int& status);
void add_help_command(CLI::App& app, int& status);
void add_completion_command(CLI::App& app, int& status);

}  // namespace blip::cli
