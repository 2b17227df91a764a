#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace blip {

/// A picture and what people wrote about it.
struct CaptionedImage {
  std::int64_t id = 0;
  std::string
      file;  ///< relative to the pictures' folder; empty when the annotations do not name it
  std::vector<std::string> captions;
};

/// Reads captions in any of these forms, and tells them apart by their keys:
/// COCO's {"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]};
/// Karpathy's {"images": [{"filepath", "filename", "split", "cocoid", "sentences": [{"raw"}]}]},
/// COCO and Flickr30k; the BLIP authors' [{"image", "caption": [...]}] and [{"image", "image_id",
/// "caption"}]. A picture without an id has the number at the end of its file's name, as in the
/// authors' code. `split` (Karpathy's form only) keeps one part, such as "test". Throws
/// Error{not_found}; Error{io} for a file in none of these forms, and for two pictures of one id;
/// Error{usage} for a split that no picture has.
std::vector<CaptionedImage> read_captions(const std::filesystem::path& file,
                                          std::string_view split = "");

}  // namespace blip
