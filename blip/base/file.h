#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <ostream>
#include <span>
#include <string>

namespace blip {

/// Whole content of a regular file.
/// Throws Error{not_found}, Error{io}, or Error{too_large} beyond `max_bytes`.
std::string read_file(const std::filesystem::path& file, std::size_t max_bytes);

/// Writes a file whole or not at all: `write` fills a temporary file beside `file`, which is then
/// renamed over it. On any failure the temporary file is removed and `file` is left as it was.
/// What exists there and is no regular file, such as a device, is refused.
/// Throws Error{io}.
void write_file(const std::filesystem::path& file, const std::function<void(std::ostream&)>& write);

/// The same by way of `temporary`, which must be in the same file system and belong to this writer
/// alone: one that is killed leaves it, and the next one writes over it.
void write_file_as(const std::filesystem::path& file, const std::filesystem::path& temporary,
                   const std::function<void(std::ostream&)>& write);

/// A folder of its own beside `target` until it is given that name; else it is removed again.
class NewFolder {
 public:
  /// Throws Error{usage} when `target` exists and is not an empty folder, Error{io}.
  explicit NewFolder(const std::filesystem::path& target);
  ~NewFolder();
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// Once. Throws Error{io}.
  void give_name();

 private:
  std::filesystem::path target_;
  std::filesystem::path path_;
};

/// A read-only memory map of a regular file. The bytes live as long as any copy of the pointer.
class MappedFile {
 public:
  /// Throws Error{not_found} or Error{io}. An empty file gives an empty span.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& file);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

  /// Takes the whole pages of `bytes` out of this process's memory; who reads them again gets them
  /// from the file again. For what was read to be converted. Nothing where they are not of a mapped
  /// file.
  static void give_back(std::span<const std::byte> bytes);

 private:
  MappedFile(std::filesystem::path path, const std::byte* data, std::size_t size);

  std::filesystem::path path_;
  const std::byte* data_;
  std::size_t size_;
};

}  // namespace blip
