#include "blip/checkpoint/zip_directory.h"

#include <algorithm>
#include <cstdint>

#include "blip/base/error.h"
#include "blip/checkpoint/byte_reader.h"

namespace blip {
namespace {

constexpr std::uint32_t kLocalHeader = 0x04034b50;
constexpr std::uint32_t kDirectoryEntry = 0x02014b50;
constexpr std::uint32_t kDirectoryEnd = 0x06054b50;
constexpr std::uint32_t kDirectoryEnd64 = 0x06064b50;
constexpr std::uint32_t kLocator64 = 0x07064b50;
constexpr std::size_t kDirectoryEndBytes = 22;
constexpr std::size_t kLocator64Bytes = 20;
constexpr std::size_t kMaxComment = 0xffff;
constexpr std::uint32_t kIn64 = 0xffffffff;  // the value is in the zip64 record instead

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::bad_model, where + ": the zip archive " + what);
}

struct Directory {
  std::uint64_t offset = 0;
  std::uint64_t entries = 0;
};

/// Position of the record that ends the archive: the last one whose comment reaches the end.
std::size_t find_directory_end(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() < kDirectoryEndBytes) fail(where, "is cut off");
  const std::size_t last = bytes.size() - kDirectoryEndBytes;
  const std::size_t first = last - std::min(last, kMaxComment);
  ByteReader reader(bytes, where);
  for (std::size_t at = last + 1; at-- > first;) {
    reader.seek(at);
    if (reader.number<std::uint32_t>() != kDirectoryEnd) continue;
    reader.seek(at + kDirectoryEndBytes - 2);
    if (reader.number<std::uint16_t>() == last - at) return at;
  }
  fail(where, "has no directory at its end: it is cut off, or no zip archive");
}

Directory find_directory(std::span<const std::byte> bytes, const std::string& where) {
  const std::size_t end = find_directory_end(bytes, where);
  ByteReader reader(bytes, where);
  if (end >= kLocator64Bytes) {
    reader.seek(end - kLocator64Bytes);
    if (reader.number<std::uint32_t>() == kLocator64) {
      reader.take(4);  // disk
      reader.seek(reader.number<std::uint64_t>());
      if (reader.number<std::uint32_t>() != kDirectoryEnd64) fail(where, "has a damaged end");
      reader.take(28);  // size, versions, disks, entries on this disk
      const auto entries = reader.number<std::uint64_t>();
      reader.take(8);  // size of the directory
      return {reader.number<std::uint64_t>(), entries};
    }
  }
  reader.seek(end + 10);
  const auto entries = reader.number<std::uint16_t>();
  reader.take(4);  // size of the directory
  return {reader.number<std::uint32_t>(), entries};
}

struct Entry {
  std::string_view name;
  std::uint64_t size = 0;
  std::uint64_t header_offset = 0;
};

/// Takes from the zip64 extra field whichever of the entry's numbers did not fit 32 bits.
void read_extra64(ByteReader extra, bool compressed_in_64, Entry& entry) {
  while (extra.remaining() >= 4) {
    const auto id = extra.number<std::uint16_t>();
    ByteReader field(extra.take(extra.number<std::uint16_t>()), extra.where());
    if (id != 1) continue;
    if (entry.size == kIn64) entry.size = field.number<std::uint64_t>();
    if (compressed_in_64) field.take(8);
    if (entry.header_offset == kIn64) entry.header_offset = field.number<std::uint64_t>();
    return;
  }
}

Entry read_entry(ByteReader& reader) {
  if (reader.number<std::uint32_t>() != kDirectoryEntry) {
    fail(reader.where(), "has a damaged directory");
  }
  reader.take(4);  // versions
  const auto flags = reader.number<std::uint16_t>();
  const auto method = reader.number<std::uint16_t>();
  reader.take(8);  // time, date, checksum
  const auto compressed = reader.number<std::uint32_t>();
  Entry entry;
  entry.size = reader.number<std::uint32_t>();
  const auto name_size = reader.number<std::uint16_t>();
  const auto extra_size = reader.number<std::uint16_t>();
  const auto comment_size = reader.number<std::uint16_t>();
  reader.take(8);  // disk, attributes
  entry.header_offset = reader.number<std::uint32_t>();
  entry.name = reader.text(name_size);
  if (method != 0 || (flags & 1) != 0) {
    throw Error(ErrorCode::unsupported, reader.where() + ": entry " + in_quotes(entry.name) +
                                            " is compressed or encrypted; torch.save stores as is");
  }
  read_extra64(ByteReader(reader.take(extra_size), reader.where()), compressed == kIn64, entry);
  reader.take(comment_size);
  return entry;
}

/// The entry's data begins after its local header, whose name and extra field may differ in size
/// from those of the directory.
std::span<const std::byte> entry_data(ByteReader reader, const Entry& entry) {
  reader.seek(entry.header_offset);
  if (reader.number<std::uint32_t>() != kLocalHeader) {
    fail(reader.where(), "has no entry " + in_quotes(entry.name) + " where its directory says");
  }
  reader.take(22);
  const auto name_size = reader.number<std::uint16_t>();
  const auto extra_size = reader.number<std::uint16_t>();
  reader.take(std::uint64_t{name_size} + extra_size);
  return reader.take(entry.size);
}

}  // namespace

ZipEntries read_zip_directory(std::span<const std::byte> bytes, const std::string& where) {
  const Directory directory = find_directory(bytes, where);
  ByteReader reader(bytes, where);
  reader.seek(directory.offset);
  ZipEntries entries;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    const Entry entry = read_entry(reader);
    if (!entries.emplace(entry.name, entry_data(reader, entry)).second) {
      fail(where, "has two entries " + in_quotes(entry.name));
    }
  }
  return entries;
}

}  // namespace blip
