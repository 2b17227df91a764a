#pragma once

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <span>
#include <string>
#include <vector>

namespace blip {

/// Writes a zip archive of uncompressed entries, each of which begins at a multiple of 64 bytes as
/// torch.save lays them, so that whoever maps the file finds its tensors aligned. Becomes zip64
/// beyond 4 GiB.
class ZipWriter {
 public:
  explicit ZipWriter(std::ostream& out) : out_(out) {}

  /// Throws Error{too_large} for an entry of 4 GiB or more.
  void add(const std::string& name, std::span<const std::byte> bytes);
  /// The directory, after the last entry.
  void finish();

 private:
  struct Entry {
    std::string name;
    std::uint32_t crc, size;
    std::uint64_t offset;
  };

  void write(std::string_view bytes);

  std::ostream& out_;
  std::uint64_t position_ = 0;
  std::vector<Entry> entries_;
};

/// The checksum of zip archives (CRC-32 of IEEE 802.3).
std::uint32_t crc32(std::span<const std::byte> bytes);

}  // namespace blip
