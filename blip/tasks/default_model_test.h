#pragma once

#include <filesystem>

#include "blip/tasks/captioning.h"

namespace blip {

// For tests: the model that comes with the program.
inline const std::filesystem::path kModel = BLIP_SOURCE_DIR "/models/default";

inline const Captioner& captioner() {
  static const Captioner made(Engine::load(kModel, {.precision = Precision::f32}));
  return made;
}

inline CaptionOptions with(int num_beams) {
  CaptionOptions options;
  options.generation = captioner().engine().default_generation();
  options.generation.num_beams = num_beams;
  return options;
}

}  // namespace blip
