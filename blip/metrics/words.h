#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace blip {

/// The words of a tokenized caption, as Python's str.split() finds them: between white space of any
/// kind. They point into `text`.
std::vector<std::string_view> split_words(std::string_view text);

/// `text` without the white space at its end, as Python's str.rstrip() leaves it.
std::string_view strip_end(std::string_view text);

}  // namespace blip
