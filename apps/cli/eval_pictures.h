#pragma once

#include <cstddef>
#include <deque>
#include <filesystem>
#include <string>
#include <utility>

#include "blip/image/decode.h"
#include "blip/tasks/engine.h"

namespace blip::cli {

/// The pictures that annotations name, in a folder, encoded when they are asked for. The last few
/// are kept.
class EvalPictures {
 public:
  EvalPictures(Engine engine, std::filesystem::path folder, const ImageOptions& options)
      : engine_(std::move(engine)), folder_(std::move(folder)), options_(options) {}

  /// `name` as the annotations have it: below the folder, or its file name alone, or in a folder
  /// named after its set, such as val2014/COCO_val2014_1.jpg and dev/dev-1-0-img0.png.
  /// Throws Error{not_found, io, bad_image, too_large, cancelled}; Error{usage} for a name that
  /// leads out of the folder, or none.
  EncodedImage encode(const std::string& name, const Context& context);

 private:
  std::filesystem::path find(const std::string& name) const;

  Engine engine_;
  std::filesystem::path folder_;
  ImageOptions options_;
  std::deque<std::pair<std::string, EncodedImage>> recent_;
};

}  // namespace blip::cli
