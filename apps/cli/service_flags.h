#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "apps/cli/flags.h"
#include "apps/cli/polish_flags.h"
#include "apps/server/service.h"

namespace blip::cli {

/// What every way of serving takes: models, how pictures are read, how work is shared out.
struct ServiceFlags {
  ModelFlags model;
  ImageFlags image;
  PolishFlags polish;  ///< of a command that polishes; add_to() leaves its options out
  std::string index;   ///< of a command that searches

  void add_to(CLI::App& command);
  /// Throws Error{not_found} where there is no model.
  server::ServiceOptions options() const;

 private:
  std::vector<std::string> more_models_;
  server::ServiceOptions service_;
  int max_wait_ms_ = 0;
  int decode_timeout_ = 30;
};

/// What a limit may be.
struct LimitRange {
  double least = 1;
  double most = 1e9;
};

/// A number, in the help's group of limits.
template <class Number>
void add_limit(CLI::App& command, const char* name, Number& value, const char* help,
               LimitRange range = {}) {
  command.add_option(name, value, help)
      ->capture_default_str()
      ->check(CLI::Range(range.least, range.most))
      ->group("Limits");
}

inline constexpr LimitRange kThreads{1, 1024};  ///< each is started at once

}  // namespace blip::cli
