#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "blip/dataset/pair_source.h"

namespace blip {

/// `text` with U+FFFD in place of bytes that are not UTF-8.
std::string valid_utf8(const std::string& text);

/// Whether there is nothing but white space.
bool is_blank(std::string_view text);

/// Adds a text without white space around it, in valid UTF-8; none that is blank.
void add_text(std::vector<std::string>& texts, std::string_view text);

/// Finds a tar sample's picture, by its ending, and its texts: the lines of .txt or .caption, or
/// else "caption" or "text" of .json, where "human": true says that people wrote them. What is
/// wrong becomes the record's error.
void take_texts(PairRecord& record);

/// Reads {"image" or "file_name", "caption" or "text": text or list, "human"} into name, texts and
/// human; a row without texts is one. Throws Error{io} that names `where`.
void take_row(PairRecord& record, std::string_view json, const std::string& where);

}  // namespace blip
