#include "blip/checkpoint/byte_reader.h"

#include <bit>

#include "blip/base/error.h"

namespace blip {

static_assert(std::endian::native == std::endian::little, "checkpoints are read as they lie");

std::span<const std::byte> ByteReader::take(std::uint64_t size) {
  if (size > remaining()) fail_short();
  const auto block = bytes_.subspan(position_, static_cast<std::size_t>(size));
  position_ += block.size();
  return block;
}

std::string_view ByteReader::text(std::uint64_t size) {
  const auto block = take(size);
  return {reinterpret_cast<const char*>(block.data()), block.size()};
}

std::string_view ByteReader::line() {
  const std::string_view rest{reinterpret_cast<const char*>(bytes_.data()) + position_,
                              remaining()};
  const std::size_t end = rest.find('\n');
  if (end == std::string_view::npos) fail_short();
  position_ += end + 1;
  return rest.substr(0, end);
}

void ByteReader::seek(std::uint64_t position) {
  if (position > bytes_.size()) fail_short();
  position_ = static_cast<std::size_t>(position);
}

void ByteReader::fail_short() const {
  throw Error(ErrorCode::bad_model, where_ + " is cut off: its " + std::to_string(bytes_.size()) +
                                        " bytes end in the middle of what is read at byte " +
                                        std::to_string(position_));
}

}  // namespace blip
