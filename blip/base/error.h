#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "blip/base/export.h"

namespace blip {

/// What went wrong, by who can mend it. `exit_status` maps each to the command's exit status.
enum class ErrorCode {
  usage,        ///< an argument or a combination of options that makes no sense
  not_found,    ///< a file or folder that is not there
  io,           ///< a file that cannot be read or written
  bad_model,    ///< a checkpoint, configuration or vocabulary that is damaged or inconsistent
  unsupported,  ///< well-formed, but of a kind this program does not handle
  bad_image,    ///< a picture that cannot be decoded
  too_large,    ///< beyond a limit that protects memory
  cancelled,    ///< stopped on request
  internal,     ///< a defect of this program
};

/// The only exception type that the library throws (besides std::bad_alloc).
/// The message is one sentence: what was expected, what came, where.
class BLIP_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

/// Exit status of the command for an error of this kind: 2 usage, 3 not_found, 4 io, 5 bad_model,
/// 6 unsupported, 7 bad_image, 8 too_large, 130 cancelled, 70 internal.
BLIP_API int exit_status(ErrorCode code) noexcept;

/// The code's name as it appears in JSON output, such as "bad_image".
BLIP_API std::string_view name(ErrorCode code) noexcept;

/// `text` in double quotes, control characters and bytes that are not UTF-8 escaped, and cut after
/// about 200 bytes: for messages that repeat what a file or user said.
BLIP_API std::string in_quotes(std::string_view text);

}  // namespace blip
