#pragma once

#include <cstdint>

#include "blip/base/random.h"
#include "blip/image/image.h"

namespace blip::train {

/// What happens to a picture before the model sees it in training. The defaults are the authors' of
/// fine-tuning; pre-training has crop_scale_min 0.2.
struct AugmentationOptions {
  bool enabled = true;          ///< false: squashed to the size, as in evaluation
  double crop_scale_min = 0.5;  ///< smallest share of the picture's area that a crop keeps
  double crop_ratio = 4.0 / 3;  ///< most that a crop's sides are stretched; 1: never
  bool flip = true;             ///< left for right, half of the time
  int operations = 2;           ///< RandAugment's N; 0: none
  double level = 5;             ///< RandAugment's M, 0..10
  double affine = 0;            ///< share of pictures that are turned, sheared and scaled a little
  double blur = 0;              ///< share of pictures that are blurred a little
};

/// A picture of `size` x `size` pixels: random crop resized bicubically, flip, RandAugment, and
/// what else the options ask for. All that is random comes from `random`. Source: torchvision's
/// RandomResizedCrop, and the authors' data/__init__.py.
Image augment(const Image& image, int size, const AugmentationOptions& options, Random& random);

}  // namespace blip::train
