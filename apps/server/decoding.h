#pragma once

#include <cstdint>

namespace blip::server {

/// Decodes pictures that come over the socket `fd` until it is closed: what the service's helper
/// processes do. A picture that makes a decoder crash takes such a process with it, not the
/// service. The process gives up what it does not need first: it can open no file and no
/// connection, write no file, and take no more memory than `max_pixels` need. Returns the exit
/// status.
int decode_pictures(int fd, std::int64_t max_pixels);

/// What goes over the socket before the bytes, both ways; the same program is on both sides.
struct DecodingRequest {
  std::uint64_t bytes;  ///< of the picture, which follow
  std::int64_t max_pixels;
  std::int32_t width;  ///< that it is squashed to
  std::int32_t height;
  std::int32_t alpha;  ///< AlphaMode
  std::int32_t exif_orientation;
};

struct DecodingReply {
  std::uint64_t bytes;  ///< of the squashed picture's RGB, or of the error's message, which follow
  std::int32_t error;   ///< ErrorCode; -1: none
  std::int32_t width;   ///< of the picture before it was squashed
  std::int32_t height;
};

}  // namespace blip::server
