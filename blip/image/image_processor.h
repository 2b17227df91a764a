#pragma once

#include <array>
#include <span>

#include "blip/base/json.h"
#include "blip/base/tensor.h"
#include "blip/image/image.h"
#include "blip/image/resize.h"

namespace blip {

/// preprocessor_config.json: squash to height x width, scale, normalise per channel.
struct ImageProcessorConfig {
  int height = 384;
  int width = 384;
  double rescale_factor = 1.0 / 255.0;
  std::array<double, 3> mean = {0.48145466, 0.4578275, 0.40821073};
  std::array<double, 3> std = {0.26862954, 0.26130258, 0.27577711};
  bool do_resize = true;  ///< false: pictures must come in at height x width
  bool do_rescale = true;
  bool do_normalize = true;

  /// Reads preprocessor_config.json as transformers writes it. `size` is {"height", "width"}, one
  /// number for a square, or [height, width]. Absent and null keys keep the defaults above, which
  /// are BLIP's; unknown keys are ignored.
  /// Throws Error{bad_model} for a value of the wrong type or out of range (sizes: 1 to 4096),
  /// Error{unsupported} for a filter other than bicubic or a size that keeps proportions.
  static ImageProcessorConfig from_json(const Json& json);

  bool operator==(const ImageProcessorConfig&) const = default;
};

/// Turns pictures into the vision encoder's input. Immutable, safe to share.
class ImageProcessor {
 public:
  explicit ImageProcessor(const ImageProcessorConfig& config);

  const ImageProcessorConfig& config() const { return config_; }

  /// Writes one picture's pixel_values [3, height, width] to `out`:
  /// float32(double(v) * rescale_factor), minus float32 mean, divided by float32 std.
  /// Large pictures are resized on OpenMP's threads (see ThreadScope).
  /// Throws Error{bad_image} where do_resize is off and the picture has another size.
  void process(const Image& image, float* out) const;

  /// pixel_values [B, 3, height, width].
  Tensor process(std::span<const Image> images) const;

 private:
  ImageProcessorConfig config_;
  std::array<std::array<float, 256>, 3> lut_;  ///< a pixel value has only 256 results per channel
};

}  // namespace blip
