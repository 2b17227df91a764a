#include "apps/server/decoding.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/error.h"
#include "blip/image/decode.h"
#include "blip/image/resize.h"

namespace blip::server {
namespace {

bool read_all(int fd, void* to, std::size_t size) {
  auto* at = static_cast<char*>(to);
  while (size > 0) {
    const ssize_t got = ::read(fd, at, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

bool write_all(int fd, const void* from, std::size_t size) {
  const auto* at = static_cast<const char*>(from);
  while (size > 0) {
    const ssize_t put = ::write(fd, at, size);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    at += put;
    size -= static_cast<std::size_t>(put);
  }
  return true;
}

void limit(int resource, rlim_t value) {
  const rlimit both{value, value};
  setrlimit(static_cast<__rlimit_resource>(resource), &both);
}

void give_up_rights(std::int64_t max_pixels) {
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  // Ctrl-C in a terminal goes to every process of the group; the service ends its helpers itself.
  signal(SIGINT, SIG_IGN);
  limit(RLIMIT_CORE, 0);
#ifndef BLIP_SANITIZED  // sanitizers map terabytes that they do not use, and open files to report
  // 12 bytes a pixel are what decoding takes at most; the rest is the program itself and the file.
  limit(RLIMIT_AS, static_cast<rlim_t>(max_pixels) * 12 + (rlim_t{3} << 29));
  limit(RLIMIT_FSIZE, 0);
  limit(RLIMIT_NOFILE, 0);  // descriptors that are open stay open
#else
  (void)max_pixels;
#endif
}

DecodingReply decode(const DecodingRequest& request, std::span<const std::byte> bytes,
                     std::vector<std::uint8_t>& out) {
  const ThreadScope one_thread(Context{1});
  DecodingReply reply{0, -1, 0, 0};
  std::string message;
  try {
    const ImageOptions options{static_cast<AlphaMode>(request.alpha), request.exif_orientation != 0,
                               request.max_pixels};
    const Image image = decode_image(bytes, options);
    reply.width = image.width;
    reply.height = image.height;
    out = resize_bicubic(image, request.width, request.height).rgb;
  } catch (const Error& e) {
    reply.error = static_cast<std::int32_t>(e.code());
    message = e.what();
  } catch (const std::bad_alloc&) {
    reply.error = static_cast<std::int32_t>(ErrorCode::too_large);
    message = "the picture takes more memory than the service gives to one";
  }
  if (reply.error >= 0) out.assign(message.begin(), message.end());
  reply.bytes = out.size();
  return reply;
}

}  // namespace

int decode_pictures(int fd, std::int64_t max_pixels) {
  available_cores();  // reads files, which cannot be opened later
  give_up_rights(max_pixels);
  DecodingRequest request;
  while (read_all(fd, &request, sizeof request)) {
    std::vector<std::byte> bytes;
    try {
      bytes.resize(request.bytes);
    } catch (const std::bad_alloc&) {
      return 1;
    }
    if (!read_all(fd, bytes.data(), bytes.size())) break;
    std::vector<std::uint8_t> out;
    const DecodingReply reply = decode(request, bytes, out);
    if (!write_all(fd, &reply, sizeof reply) || !write_all(fd, out.data(), out.size())) break;
  }
  return 0;
}

}  // namespace blip::server
