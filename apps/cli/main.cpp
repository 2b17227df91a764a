#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/kohya_names.h"
#include "blip/base/error.h"

namespace {

constexpr const char* kFooter =
    "Exit status: 0 done, 1 some inputs failed, 2 wrong usage, 3 not found, 4 cannot read or "
    "write,\n"
    "5 damaged model, 6 not supported, 7 damaged picture, 8 too large, 130 stopped.\n"
    "BLIP_MODEL names the default of --model, BLIP_POLISH_KEY that of --polish-key; BLIP_ISA "
    "forces "
    "an instruction set.";

/// One sentence on standard error.
int fail(const std::string& message, blip::ErrorCode code) {
  std::fprintf(stderr, "blip: %s\n", message.c_str());
  return blip::exit_status(code);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Describes pictures with BLIP.", "blip");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("blip ") + BLIP_VERSION);
  int status = 0;
  blip::cli::add_caption_command(app, status);
  blip::cli::add_describe_command(app, status);
  blip::cli::add_capfilt_command(app, status);
  blip::cli::add_bootstrap_command(app, status);
  blip::cli::add_vqa_command(app, status);
  blip::cli::add_match_command(app, status);
  blip::cli::add_nlvr_command(app, status);
  blip::cli::add_embed_command(app, status);
  blip::cli::add_heatmap_command(app, status);
  blip::cli::add_index_command(app, status);
  blip::cli::add_search_command(app, status);
  blip::cli::add_classify_command(app, status);
  blip::cli::add_eval_command(app, status);
  blip::cli::add_serve_command(app, status);
  blip::cli::add_mcp_command(app, status);
  blip::cli::add_tokenize_command(app, status);
  blip::cli::add_preprocess_command(app, status);
  blip::cli::add_inspect_command(app, status);
  blip::cli::add_convert_command(app, status);
  blip::cli::add_quantize_command(app, status);
  blip::cli::add_compare_command(app, status);
  blip::cli::add_bench_command(app, status);
  blip::cli::add_train_command(app, status);
  blip::cli::add_help_command(app, status);
  blip::cli::add_completion_command(app, status);
  try {
    std::vector<std::string> arguments =
        blip::cli::without_kohya_names(std::vector<std::string>(argv + 1, argv + argc));
    std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
    app.parse(std::move(arguments));
    std::fflush(stdout);
    if (std::ferror(stdout) != 0)
      return fail("cannot write to standard output", blip::ErrorCode::io);
    return status;
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
    return fail(std::string(e.what()) + " (see blip --help)", blip::ErrorCode::usage);
  } catch (const blip::Error& e) {
    return fail(e.what(), e.code());
  } catch (const std::bad_alloc&) {
    return fail("out of memory", blip::ErrorCode::too_large);
  } catch (const std::exception& e) {
    return fail(std::string("internal error: ") + e.what(), blip::ErrorCode::internal);
  }
}
