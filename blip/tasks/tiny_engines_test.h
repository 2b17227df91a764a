#pragma once

#include <cmath>
#include <string>

#include "blip/tasks/engine.h"

namespace blip {

/// One of the small checkpoints of tests/golden/data, which share a vocabulary.
inline Engine tiny_engine(const std::string& checkpoint, int vision_heads = 0,
                          Precision precision = Precision::f32) {
  const std::string data = BLIP_SOURCE_DIR "/tests/golden/data/";
  EngineOptions options;
  options.vision_heads = vision_heads;
  options.precision = precision;
  if (vision_heads == 0) options.tokenizer = data + "tokenizer_hf";
  return Engine::load(data + checkpoint, options);
}

/// A picture that is no picture: stripes, as wide as `period` says.
inline Image stripes(int period) {
  Image image{40, 30, {}};
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const bool light = (x + y) / period % 2 == 0;
      for (const int value : {light ? 230 : 20, (37 * period) % 256, light ? 10 : 200})
        image.rgb.push_back(static_cast<std::uint8_t>(value));
    }
  }
  return image;
}

inline EncodedImage encoded(const Engine& engine, int period) {
  const Image image = stripes(period);
  return engine.encode({&image, 1}).front();
}

}  // namespace blip
