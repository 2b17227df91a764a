#pragma once

#include <span>
#include <vector>

#include "blip/base/context.h"
#include "blip/model/conversion.h"
#include "blip/model/vision_encoder.h"

namespace blip {

/// Chooses, for each layer of the vision encoder and each cross-attention projection of the
/// picture, the smoothing that leaves the smallest error when the layer is int8: s =
/// (max|w|^(1 - a) / max|x|^a) per input for a few strengths a, or none (SmoothQuant, arXiv
/// 2211.10438, section 4; the strength per layer by trial).
class SmoothingSearch {
 public:
  explicit SmoothingSearch(const Checkpoint& checkpoint);

  /// Adds what the layers see of a picture. `pixel_values` [3, height, width]. Throws
  /// Error{cancelled}.
  void observe(std::span<const float> pixel_values, int height, int width, const Context& context);

  /// Throws Error{usage} when no picture was seen, Error{cancelled}.
  Smoothing choose(const Context& context) const;

 private:
  /// The inputs of a layer: the largest magnitude of each, and some whole rows.
  struct Inputs {
    std::vector<float> largest;  ///< [in]
    std::vector<float> rows;     ///< [kept, in]
  };
  void add(const std::string& name, std::span<const float> values, std::size_t width);
  Weight best_for(const Weight& weight, const Inputs& inputs) const;

  const Checkpoint& checkpoint_;
  VisionEncoder vision_;
  std::map<std::string, Inputs> inputs_;
};

}  // namespace blip
