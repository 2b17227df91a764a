#include "blip/index/durable.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "blip/base/error.h"

namespace blip {
namespace {

[[noreturn]] void fail_at(const char* what, const std::filesystem::path& path) {
  throw Error(ErrorCode::io,
              std::string("cannot ") + what + " " + path.string() + ": " + std::strerror(errno));
}

}  // namespace

void sync_to_disk(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_at("open", path);
  const int status = ::fsync(fd);
  const int reason = errno;
  ::close(fd);
  errno = reason;
  if (status != 0) fail_at("write", path);
}

AppendedFile::AppendedFile(const std::filesystem::path& file, std::uint64_t keep)
    : path_(file), fd_(::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666)) {
  if (fd_ < 0) fail_at("open", file);
  struct stat status {};
  const auto length = static_cast<off_t>(keep);
  if (::fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size < length) {
    ::close(fd_);
    throw Error(ErrorCode::io, file.string() + " is cut short: it must have at least " +
                                   std::to_string(keep) + " bytes");
  }
  if (::ftruncate(fd_, length) != 0 || ::lseek(fd_, length, SEEK_SET) != length) {
    const int reason = errno;
    ::close(fd_);
    errno = reason;
    fail_at("cut", file);
  }
}

AppendedFile::~AppendedFile() {
  if (fd_ < 0) return;
  try {
    flush();
  } catch (const Error&) {
    // What is not written is not part of the index; the next writer cuts a torn end off.
  }
  ::close(fd_);
}

AppendedFile::AppendedFile(AppendedFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      buffer_(std::move(other.buffer_)) {}

void AppendedFile::flush() {
  std::size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t n = ::write(fd_, buffer_.data() + done, buffer_.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int reason = errno;
      buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(done));
      errno = reason;
      fail_at("write", path_);
    }
    done += static_cast<std::size_t>(n);
  }
  buffer_.clear();
}

void AppendedFile::sync() {
  flush();
  if (::fdatasync(fd_) != 0) fail_at("write", path_);
}

FolderLock::FolderLock(const std::filesystem::path& folder)
    : fd_(::open((folder / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  if (fd_ < 0) fail_at("open", folder / "lock");
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
  const int reason = errno;
  ::close(fd_);
  if (reason == EWOULDBLOCK) {
    throw Error(ErrorCode::io, folder.string() + " is being changed by another process");
  }
  errno = reason;
  fail_at("lock", folder / "lock");
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace blip
