#include "blip/index/rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "blip/base/error.h"
#include "blip/index/checksum.h"
#include "blip/index/manifest.h"

namespace blip {

/// As entries.N holds it, little-endian.
struct Rows::Record {
  std::uint64_t name_offset;
  std::uint64_t name_length;
  std::uint64_t size;
  std::int64_t modified;
  std::uint64_t content;   ///< checksum of the vector's bytes, seeded with the name's
  std::uint64_t checksum;  ///< of the fields above

  std::uint64_t own_checksum() const {
    return blip::checksum(std::as_bytes(std::span(this, 1)).first(offsetof(Record, checksum)));
  }
};

namespace {

constexpr std::size_t kRecordBytes = 48;
constexpr std::size_t kFlushBytes = std::size_t{1} << 20;
constexpr std::chrono::seconds kFlushInterval{1};

std::uint64_t content_checksum(std::string_view name, std::span<const std::byte> vector) {
  return checksum(vector, checksum(std::as_bytes(std::span(name))));
}

/// The first `wanted` bytes of a file. Throws Error{io} when it has fewer.
std::span<const std::byte> first_bytes(const MappedFile& file, std::size_t wanted) {
  if (file.bytes().size() < wanted) {
    throw Error(ErrorCode::io, file.path().string() + " is cut short: it has " +
                                   std::to_string(file.bytes().size()) + " bytes of " +
                                   std::to_string(wanted));
  }
  return file.bytes().first(wanted);
}

}  // namespace

void require_finite(std::span<const float> values, std::string_view what) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    throw Error(ErrorCode::usage, std::string(what) + " must hold finite numbers, but value " +
                                      std::to_string(i) + " is " + std::to_string(values[i]));
  }
}

Rows::Rows(const std::filesystem::path& folder, std::uint64_t number, std::size_t width,
           std::size_t count)
    : width_(width), count_(count) {
  const char* const stems[] = {"vectors", "entries", "names"};
  for (std::size_t i = 0; i < 3; ++i) {
    files_[i] = MappedFile::open(part_path(folder, stems[i], number));
  }
  vectors_ = first_bytes(*files_[0], count * width * sizeof(float));
  entries_ = first_bytes(*files_[1], count * kRecordBytes);
  names_ = files_[2]->bytes();
}

Rows Rows::all_of(const std::filesystem::path& folder, std::uint64_t number, std::size_t width) {
  Rows rows(folder, number, width, 0);
  rows.vectors_ = rows.files_[0]->bytes();
  rows.entries_ = rows.files_[1]->bytes();
  rows.count_ = std::min({rows.vectors_.size() / (width * sizeof(float)),
                          rows.entries_.size() / kRecordBytes, kMaxIndexRows});
  return rows;
}

Rows::Rows(std::span<const std::byte> vectors, std::span<const std::byte> entries,
           std::span<const std::byte> names, std::size_t width)
    : vectors_(vectors),
      entries_(entries),
      names_(names),
      width_(width),
      count_(std::min(vectors.size() / (width * sizeof(float)), entries.size() / kRecordBytes)) {}

VectorView Rows::vectors() const {
  return {reinterpret_cast<const float*>(vectors_.data()), count_, width_};
}

std::span<const std::byte> Rows::vector_bytes(std::size_t row) const {
  const std::size_t size = width_ * sizeof(float);
  return vectors_.subspan(row * size, size);
}

Rows::Record Rows::record(std::size_t row) const {
  if (row >= count_) damaged(row, "is not there");
  static_assert(sizeof(Record) == kRecordBytes);
  Record record;
  std::memcpy(&record, entries_.data() + row * kRecordBytes, kRecordBytes);
  if (record.checksum != record.own_checksum()) damaged(row, "has a damaged record");
  if (record.name_offset > names_.size() ||
      record.name_length > names_.size() - record.name_offset) {
    damaged(row, "has a name outside the file of names");
  }
  return record;
}

void Rows::damaged(std::size_t row, const char* what) const {
  const std::string where = files_[1] ? files_[1]->path().string() : "the index";
  throw Error(ErrorCode::io, "row " + std::to_string(row) + " of " + where + " " + what);
}

std::string_view Rows::name(std::size_t row) const {
  const Record r = record(row);
  const auto bytes = names_.subspan(r.name_offset, r.name_length);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

IndexEntry Rows::entry(std::size_t row) const {
  const Record r = record(row);
  return {std::string(name(row)), r.size, r.modified};
}

void Rows::verify(std::size_t row) const {
  if (content_checksum(name(row), vector_bytes(row)) != record(row).content) {
    damaged(row, "does not match its checksum");
  }
}

std::size_t Rows::whole_from(std::size_t first) const {
  std::uint64_t names_end = name_bytes(first);
  std::size_t row = first;
  try {
    for (; row < count_; ++row) {
      const Record r = record(row);
      if (r.name_offset != names_end) break;
      verify(row);
      names_end += r.name_length;
    }
  } catch (const Error&) {
    // The process that wrote this row died before it was done.
  }
  return row - first;
}

std::uint64_t Rows::name_bytes(std::size_t count) const {
  if (count == 0) return 0;
  const Record last = record(count - 1);
  return last.name_offset + last.name_length;
}

std::size_t Rows::bytes_per_row(std::size_t width) {
  return width * sizeof(float) + kRecordBytes;
}

RowWriter::RowWriter(const std::filesystem::path& folder, std::uint64_t number, std::size_t width,
                     std::size_t keep)
    : RowWriter(folder, number, width, keep,
                keep == 0 ? 0 : Rows(folder, number, width, keep).name_bytes(keep)) {}

RowWriter::RowWriter(const std::filesystem::path& folder, std::uint64_t number, std::size_t width,
                     std::size_t keep, std::uint64_t name_bytes)
    : width_(width),
      count_(keep),
      name_bytes_(name_bytes),
      entries_(part_path(folder, "entries", number), keep * kRecordBytes),
      vectors_(part_path(folder, "vectors", number), keep * width * sizeof(float)),
      names_(part_path(folder, "names", number), name_bytes) {}

void RowWriter::append(const IndexEntry& entry, std::span<const float> vector) {
  require_finite(vector, "a vector of an index");
  double square = 0;
  for (const float v : vector) square += double{v} * double{v};
  if (vector.size() != width_ || !(std::fabs(square - 1) < 2e-3)) {
    throw Error(ErrorCode::usage, "an index of width " + std::to_string(width_) +
                                      " takes vectors of that many values and of length 1, not " +
                                      std::to_string(vector.size()) + " values of length " +
                                      std::to_string(std::sqrt(square)));
  }
  if (count_ >= kMaxIndexRows) {
    throw Error(ErrorCode::too_large,
                "an index holds at most " + std::to_string(kMaxIndexRows) + " vectors");
  }
  const auto bytes = std::as_bytes(vector);
  Rows::Record record{name_bytes_,
                      entry.name.size(),
                      entry.size,
                      entry.modified,
                      content_checksum(entry.name, bytes),
                      0};
  record.checksum = record.own_checksum();
  names_.append(std::as_bytes(std::span(entry.name)));
  vectors_.append(bytes);
  entries_.append(std::as_bytes(std::span(&record, 1)));
  name_bytes_ += entry.name.size();
  ++count_;
  if (vectors_.buffered() >= kFlushBytes ||
      std::chrono::steady_clock::now() - flushed_ >= kFlushInterval) {
    flush();
  }
}

void RowWriter::flush() {
  names_.flush();
  vectors_.flush();
  entries_.flush();
  flushed_ = std::chrono::steady_clock::now();
}

void RowWriter::sync() {
  names_.sync();
  vectors_.sync();
  entries_.sync();
}

}  // namespace blip
