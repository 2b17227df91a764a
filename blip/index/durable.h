#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace blip {

/// Waits until what a file or folder holds is on disk. Throws Error{io}.
void sync_to_disk(const std::filesystem::path& path);

/// A file that only grows, written in blocks. What was not flushed is lost with the process.
class AppendedFile {
 public:
  /// Opens or creates the file and cuts it after `keep` bytes. Throws Error{io}; also when the file
  /// is shorter than that.
  AppendedFile(const std::filesystem::path& file, std::uint64_t keep);
  ~AppendedFile();
  AppendedFile(AppendedFile&& other) noexcept;
  AppendedFile& operator=(AppendedFile&&) = delete;

  void append(std::span<const std::byte> bytes) {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }
  std::size_t buffered() const { return buffer_.size(); }
  /// Hands what is buffered to the system. Throws Error{io}; then the rest stays buffered.
  void flush();
  /// Flushes, and waits until it is on disk. Throws Error{io}.
  void sync();

 private:
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path path_;
  int fd_;
  std::vector<std::byte> buffer_;
};

/// A folder that one process at a time may change: an exclusive lock on its file "lock", given up
/// at the end of the scope and when the process dies.
class FolderLock {
 public:
  /// Throws Error{io} when another process holds the lock, or it cannot be made.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(FolderLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  FolderLock& operator=(FolderLock&&) = delete;

 private:
  int fd_;
};

}  // namespace blip
