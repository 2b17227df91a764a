#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "blip/base/json.h"

namespace blip::cli {

/// What `blip bootstrap` was asked for.
struct BootstrapOptions {
  std::vector<std::string> noisy, clean;   ///< pairs, in any form that trainer and capfilt read
  std::string noisy_images, clean_images;  ///< folders of their pictures; empty: beside the file
  std::filesystem::path output;
  int rounds = 1;
  bool captioner = true, filter = true;
  std::string pretrain = "pretrain.yaml";  ///< configurations of the trainer, by task
  std::string caption = "caption_coco.yaml";
  std::string retrieval = "retrieval_coco.yaml";
  std::vector<std::string> overrides;  ///< TASK.KEY=VALUE
};

/// One step: a program that is run until it ends well, and makes `folder`.
struct BootstrapStage {
  std::string name;               ///< "round1/filter": its folder below the output
  std::string task;               ///< of the trainer; "capfilt"
  std::vector<std::string> line;  ///< the program and its arguments
  Json made_from;                 ///< what the result depends on, by keys; of other stages: `after`
  std::vector<std::size_t> after;  ///< places of the stages whose results it takes
};

/// The stages in their order: pre-training, and in each round captioner, filter, pairs,
/// pre-training. The trainer is asked whether the configurations are right. Throws Error{usage} for
/// wrong settings, Error{not_found} for data that is not there.
std::vector<BootstrapStage> plan_bootstrap(const BootstrapOptions& options);

}  // namespace blip::cli
