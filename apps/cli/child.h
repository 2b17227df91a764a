#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace blip::cli {

/// This program's file.
std::filesystem::path own_program();

/// blip-train, which lies beside this program. Throws Error{not_found}.
std::filesystem::path find_trainer();

/// Runs a program to its end; what it prints goes to standard error. A request to stop
/// (stop_requested()) reaches it as SIGTERM, once; it gets the same when this process dies.
/// Returns its exit status, or 128 + the signal that ended it. Throws Error{io} when it cannot be
/// started.
int run_program(const std::vector<std::string>& words);

/// What a program prints on standard output. Throws Error of the kind that its exit status names,
/// with the sentence that it said.
std::string output_of(const std::vector<std::string>& words);

/// `words` as a line for a shell.
std::string shell_line(const std::vector<std::string>& words);

}  // namespace blip::cli
