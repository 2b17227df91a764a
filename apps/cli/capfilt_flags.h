#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "apps/cli/capfilt_plan.h"
#include "apps/cli/flags.h"
#include "blip/tasks/capfilt.h"

namespace blip::cli {

/// Which of how many workers this one is.
struct CapFiltShard {
  std::size_t index = 0;
  std::size_t count = 1;
};

/// The models; one that is named twice is opened once.
struct CapFiltEngines {
  std::optional<Engine> captioner, filter;
};

/// The flags of `blip capfilt`.
struct CapFiltFlags {
  std::vector<std::string> paths;  ///< IN..., OUT
  std::string captioner, filter;
  bool no_captioner = false, no_filter = false;
  EngineOptions engines;
  std::size_t batch_size = 8;
  ImageFlags image;

  void add_to(CLI::App& command);

  /// Throw Error{usage}.
  CapFiltFiles files() const;
  CapFiltShard shard() const;
  /// Throws Error{usage} unless each model is named or left out; what Engine::load() throws.
  CapFiltEngines load() const;
  CapFiltOptions options(const CapFiltEngines& loaded) const;

 private:
  void add_files(CLI::App& command);
  void add_models(CLI::App& command);
  void add_rule(CLI::App& command);
  void add_writing(CLI::App& command);

  CapFiltFiles files_;
  std::string shard_;
  CapFiltOptions options_;
  GenerationFlags generation_;
  std::string method_ = "nucleus";
  int captions_ = 1;
  CLI::Option* prompt_ = nullptr;
  CLI::Option* no_captioner_ = nullptr;
  CLI::Option* no_filter_ = nullptr;
};

}  // namespace blip::cli
