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

/// What a picture's id is where the file states none.
enum class MissingId {
  from_name,  ///< the number at the end of its file's name, as in the authors' code; else an error
  numbered,   ///< 0, 1, 2, ... by file, in the order of appearance; stated ids do not count either
};

/// Reads captions in any of these forms, and tells them apart by their keys:
/// COCO's {"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]};
/// Karpathy's {"images": [{"filepath", "filename", "split", "cocoid", "sentences": [{"raw"}]}]},
/// COCO and Flickr30k; the BLIP authors' [{"image", "caption": [...]}] and [{"image", "image_id",
/// "caption"}]; and, in a file whose name ends in .jsonl, one such object a line, where "file_name"
/// and "text" are other words for "image" and "caption". `split` (Karpathy's form only) keeps one
/// part, such as "test". `ids` is for all forms but COCO's, which always states them. Throws
/// Error{not_found}; Error{io} for a file in none of these forms, and for two pictures of one id;
/// Error{usage} for a split that no picture has.
std::vector<CaptionedImage> read_captions(const std::filesystem::path& file,
                                          std::string_view split = "",
                                          MissingId ids = MissingId::from_name);

/// The pictures below a folder, by name, with the captions that lie beside them: the lines of
/// NAME.txt or else NAME.caption. Where the folder has a metadata.jsonl, that is read instead. A
/// picture without captions is in the list too. Ids are numbered.
/// Throws Error{not_found} for a folder without pictures, Error{io}.
std::vector<CaptionedImage> read_captioned_folder(const std::filesystem::path& folder);

/// The captions that lie beside a picture: the lines of NAME.txt or else NAME.caption that are not
/// blank. Throws Error{io}, Error{too_large} for more than 1 MiB.
std::vector<std::string> read_sidecar(std::filesystem::path picture);

/// The lines of such a file that are not blank, as they are.
std::vector<std::string> caption_lines(const std::string& text);

}  // namespace blip
