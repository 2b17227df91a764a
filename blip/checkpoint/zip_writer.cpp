#include "blip/checkpoint/zip_writer.h"

#include <array>
#include <limits>

#include "blip/base/error.h"

namespace blip {
namespace {

constexpr std::uint64_t kAlignment = 64;
constexpr std::uint32_t kIn64 = 0xffffffff;  // the value is in the zip64 record instead
constexpr std::uint16_t kVersion = 45;       // of the format, which knows zip64

/// Little-endian numbers one after the other.
class Record {
 public:
  Record& u16(std::uint64_t value) { return number(value, 2); }
  Record& u32(std::uint64_t value) { return number(value, 4); }
  Record& u64(std::uint64_t value) { return number(value, 8); }
  Record& text(std::string_view value) {
    bytes_ += value;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  Record& number(std::uint64_t value, int size) {
    for (int i = 0; i < size; ++i) bytes_ += static_cast<char>(value >> (8 * i) & 0xff);
    return *this;
  }
  std::string bytes_;
};

/// What a byte does to the checksum when i zero bytes follow it: eight bytes go at once.
using CrcTables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr CrcTables make_crc_tables() {
  CrcTables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0u);
    tables[0][byte] = crc;
  }
  for (std::size_t i = 1; i < 8; ++i) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[i - 1][byte];
      tables[i][byte] = before >> 8 ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr CrcTables kCrc = make_crc_tables();

}  // namespace

std::uint32_t crc32(std::span<const std::byte> bytes) {
  std::uint32_t crc = ~0u;
  const auto at = [&](std::size_t i) { return std::to_integer<std::uint32_t>(bytes[i]); };
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    const std::uint32_t low = crc ^ (at(i) | at(i + 1) << 8 | at(i + 2) << 16 | at(i + 3) << 24);
    crc = kCrc[7][low & 0xff] ^ kCrc[6][low >> 8 & 0xff] ^ kCrc[5][low >> 16 & 0xff] ^
          kCrc[4][low >> 24] ^ kCrc[3][at(i + 4)] ^ kCrc[2][at(i + 5)] ^ kCrc[1][at(i + 6)] ^
          kCrc[0][at(i + 7)];
  }
  for (; i < bytes.size(); ++i) crc = crc >> 8 ^ kCrc[0][(crc ^ at(i)) & 0xff];
  return ~crc;
}

void ZipWriter::write(std::string_view bytes) {
  out_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  position_ += bytes.size();
}

void ZipWriter::add(const std::string& name, std::span<const std::byte> bytes) {
  if (bytes.size() >= kIn64) {
    throw Error(ErrorCode::too_large, in_quotes(name) + " has " + std::to_string(bytes.size()) +
                                          " bytes; an entry of the archive holds less than 4 GiB");
  }
  const Entry entry{name, crc32(bytes), static_cast<std::uint32_t>(bytes.size()), position_};
  constexpr std::uint64_t kHeader = 30, kExtraHeader = 4;
  const std::uint64_t unpadded = position_ + kHeader + name.size() + kExtraHeader;
  const std::uint64_t padding = (kAlignment - unpadded % kAlignment) % kAlignment;
  Record header;
  header.u32(0x04034b50).u16(kVersion).u16(0).u16(0).u16(0).u16(0).u32(entry.crc);
  header.u32(entry.size).u32(entry.size).u16(name.size()).u16(kExtraHeader + padding).text(name);
  header.u16(0x4246).u16(padding).text(std::string(padding, 'Z'));  // torch's name for padding
  write(header.bytes());
  write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  entries_.push_back(entry);
}

void ZipWriter::finish() {
  const std::uint64_t start = position_;
  for (const Entry& entry : entries_) {
    const bool far = entry.offset >= kIn64;
    Record record;
    record.u32(0x02014b50).u16(kVersion).u16(kVersion).u16(0).u16(0).u16(0).u16(0);
    record.u32(entry.crc).u32(entry.size).u32(entry.size).u16(entry.name.size());
    record.u16(far ? 12 : 0).u16(0).u16(0).u16(0).u32(0);
    record.u32(far ? kIn64 : entry.offset).text(entry.name);
    if (far) record.u16(1).u16(8).u64(entry.offset);
    write(record.bytes());
  }
  const std::uint64_t end = position_, count = entries_.size();
  const bool large = start >= kIn64 || count >= std::numeric_limits<std::uint16_t>::max();
  Record record;
  if (large) {
    record.u32(0x06064b50).u64(44).u16(kVersion).u16(kVersion).u32(0).u32(0);
    record.u64(count).u64(count).u64(end - start).u64(start);
    record.u32(0x07064b50).u32(0).u64(end).u32(1);
  }
  const std::uint64_t short_count = large ? 0xffff : count;
  record.u32(0x06054b50).u16(0).u16(0).u16(short_count).u16(short_count);
  record.u32(large ? kIn64 : end - start).u32(large ? kIn64 : start).u16(0);
  write(record.bytes());
}

}  // namespace blip
