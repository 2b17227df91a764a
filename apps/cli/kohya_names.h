#pragma once

#include <string>
#include <vector>

namespace blip::cli {

/// The arguments of `blip caption` with the option names of kohya-ss/sd-scripts' make_captions.py
/// (--caption_extension, --num_beams, ...) put into this program's, so that its command lines go on
/// working. Says on standard error which options have no meaning here. Arguments of other commands
/// come back as they are.
std::vector<std::string> without_kohya_names(const std::vector<std::string>& arguments);

}  // namespace blip::cli
