#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace blip {

/// Walks the bytes of a file that may be damaged or hostile: little-endian numbers, blocks and
/// lines, in order, never past the end. Everything returned is a view of the bytes given.
class ByteReader {
 public:
  /// `where` names the bytes in messages.
  ByteReader(std::span<const std::byte> bytes, std::string where)
      : bytes_(bytes), where_(std::move(where)) {}

  /// Each throws Error{bad_model} when fewer bytes are left than asked for.
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::span<const std::byte> take(std::uint64_t size);
  std::string_view text(std::uint64_t size);
  /// Up to the next line feed, which is consumed and left out.
  std::string_view line();

  std::size_t position() const { return position_; }
  std::size_t remaining() const { return bytes_.size() - position_; }
  /// Continues at `position` from the start. Throws Error{bad_model} when that is past the end.
  void seek(std::uint64_t position);
  const std::string& where() const { return where_; }

 private:
  [[noreturn]] void fail_short() const;

  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
  std::string where_;
};

}  // namespace blip
