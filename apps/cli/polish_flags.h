#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "apps/polish/polish.h"

namespace blip::cli {

/// --polish-url, --polish-model, --polish-timeout, --polish-key
struct PolishFlags {
  PolishService service;

  void add_to(CLI::App& command);
  bool given() const { return !service.url.empty(); }
};

}  // namespace blip::cli
