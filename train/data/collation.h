#pragma once

#include <span>
#include <string>
#include <vector>

#include "blip/image/image_processor.h"
#include "blip/tokenizer/tokenizer.h"
#include "train/data/augmentation.h"
#include "train/data/data_options.h"
#include "train/data/record.h"
#include "train/model/task.h"

namespace blip::train {

/// A record with its pictures as the model sees them.
struct Example {
  Record record;
  std::vector<Image> images;  ///< S x S, 8 bits: one, or left and right
};

/// Turns records into batches. Immutable, safe to share.
class Collator {
 public:
  /// `image_size`: side of the model's pictures in pixels.
  Collator(const Tokenizer& tokenizer, const DataOptions& data, DataKind kind,
           const ImageProcessorConfig& processor);

  /// Decodes and augments; `random` seeds all that is drawn. The pictures of a statement are
  /// exchanged half of the time, and with them the words left and right, as the authors do.
  /// Throws Error{not_found, io, bad_image, too_large, unsupported} for a picture.
  Example prepare(Record record, const AugmentationOptions& augmentation,
                  std::uint64_t random) const;

  /// On the CPU. Texts are padded to the longest, or to DataOptions::text_length.
  Batch collate(std::span<const Example> examples) const;

 private:
  torch::Tensor pixels(std::span<const Example> examples) const;

  const Tokenizer& tokenizer_;
  DataOptions data_;
  DataKind kind_;
  ImageProcessor processor_;
  std::int64_t prompt_length_ = 0;  ///< tokens of [CLS] and the prompt; 0: no prompt
};

}  // namespace blip::train
