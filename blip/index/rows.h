#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "blip/base/file.h"
#include "blip/index/durable.h"

namespace blip {

/// What a vector stands for, and how to tell whether that changed since.
struct IndexEntry {
  std::string name;           ///< a picture's path, or the text itself; any bytes
  std::uint64_t size = 0;     ///< of the file, or the text, in bytes
  std::int64_t modified = 0;  ///< the file's, in nanoseconds since 1970; 0 for texts
};

/// Vectors that lie one after the other.
struct VectorView {
  const float* data = nullptr;
  std::size_t count = 0;
  std::size_t width = 0;
  const float* operator[](std::size_t row) const { return data + row * width; }
};

/// Throws Error{usage} naming the first of `values` that is NaN or infinite, as a broken model's
/// are.
void require_finite(std::span<const float> values, std::string_view what);

/// The rows of an index, mapped: vectors.N [count, width] f32, entries.N a record of fixed size for
/// each row, names.N the names one after the other. Nothing that a file says is used before it was
/// checked. Immutable; safe to share between threads.
class Rows {
 public:
  Rows() = default;
  /// The first `count` rows of files number `number`; what follows is not looked at.
  /// Throws Error{not_found} or Error{io} when one is missing or too short.
  Rows(const std::filesystem::path& folder, std::uint64_t number, std::size_t width,
       std::size_t count);
  /// As many rows as the files seem to hold.
  static Rows all_of(const std::filesystem::path& folder, std::uint64_t number, std::size_t width);
  /// The same on bytes in memory, for tests.
  Rows(std::span<const std::byte> vectors, std::span<const std::byte> entries,
       std::span<const std::byte> names, std::size_t width);

  std::size_t count() const { return count_; }
  VectorView vectors() const;
  /// A view of the name, which lives as long as the rows. Throws Error{io} when the record is
  /// damaged or points outside the file.
  std::string_view name(std::size_t row) const;
  IndexEntry entry(std::size_t row) const;
  /// Throws Error{io} when the row's vector is not the one that was written for its name.
  void verify(std::size_t row) const;
  /// Rows from `first` on that are whole, up to the first that is not.
  std::size_t whole_from(std::size_t first) const;
  /// Bytes of names.N that the first `count` rows take.
  std::uint64_t name_bytes(std::size_t count) const;

  /// What a row takes in vectors.N and entries.N together, beside its name.
  static std::size_t bytes_per_row(std::size_t width);

 private:
  struct Record;
  Record record(std::size_t row) const;
  std::span<const std::byte> vector_bytes(std::size_t row) const;
  [[noreturn]] void damaged(std::size_t row, const char* what) const;

  friend class RowWriter;
  std::shared_ptr<const MappedFile> files_[3];
  std::span<const std::byte> vectors_, entries_, names_;
  std::size_t width_ = 0;
  std::size_t count_ = 0;
};

/// Appends rows to files number `number`. Rows are durable after sync(), and survive the death of
/// the process about a second after append().
class RowWriter {
 public:
  /// Goes on after `keep` rows of the files, which must be whole; what follows is cut off.
  /// Throws Error{io}.
  RowWriter(const std::filesystem::path& folder, std::uint64_t number, std::size_t width,
            std::size_t keep);

  std::size_t count() const { return count_; }
  /// `vector` [width]. Throws Error{usage} unless all values are finite and its length is 1 within
  /// a thousandth; Error{io};
  /// Error{too_large} beyond kMaxIndexRows.
  void append(const IndexEntry& entry, std::span<const float> vector);
  /// Hands what was appended to the system, so that Rows see it. Throws Error{io}.
  void flush();
  /// The same, and waits until it is on disk.
  void sync();

 private:
  RowWriter(const std::filesystem::path& folder, std::uint64_t number, std::size_t width,
            std::size_t keep, std::uint64_t name_bytes);

  std::size_t width_;
  std::size_t count_;
  std::uint64_t name_bytes_;
  std::chrono::steady_clock::time_point flushed_ = std::chrono::steady_clock::now();
  // Destroyed last to first: records are flushed after what they speak of.
  AppendedFile entries_, vectors_, names_;
};

}  // namespace blip
