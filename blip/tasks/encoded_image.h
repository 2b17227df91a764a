#pragma once

#include <memory>
#include <mutex>

#include "blip/base/context.h"
#include "blip/base/tensor.h"
#include "blip/model/blip.h"
#include "blip/tasks/engine.h"

namespace blip {

/// Cross-attention keys and values that the first task to need them makes; then they are kept.
class KeptKeysValues {
 public:
  /// What `make()` returned at the first call that did not throw.
  template <class Make>
  const CrossKeysValues& get(const Make& make) const {
    std::call_once(once_, [&] { keys_values_ = make(); });
    return keys_values_;
  }

 private:
  mutable std::once_flag once_;
  mutable CrossKeysValues keys_values_;
};

struct EncodedImage::Data {
  /// Room for the picture's states; Engine fills it.
  Data(std::shared_ptr<const BlipModel> encoder, int height, int width);

  std::shared_ptr<const BlipModel> model;  ///< that encoded it
  int rows;                                ///< of patches
  int columns;                             ///< of patches
  Tensor image_embeds;                     ///< [1 + rows * columns, D]

  /// What the text decoder, the text encoder and each side of the encoder for two pictures look at.
  /// Throw Error{unsupported} when the model lacks the part.
  const CrossKeysValues& for_decoder(const Context& context) const;
  const CrossKeysValues& for_encoder(const Context& context) const;
  const CrossKeysValues& for_nlvr(std::size_t branch, const Context& context) const;

 private:
  KeptKeysValues decoder_;
  KeptKeysValues encoder_;
  KeptKeysValues nlvr_[2];
};

/// Throws Error{usage} when `image` is empty or was encoded by another engine.
const EncodedImage::Data& data_of(const EncodedImage& image, const Engine& engine);

}  // namespace blip
