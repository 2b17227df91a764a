#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace blip {

/// XXH3 of 64 bits: tells damage and change, and is no protection against forgery. `seed` chains
/// several pieces: the checksum of what came before.
std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t seed = 0) noexcept;

/// 16 hexadecimal digits.
std::string to_hex(std::uint64_t value);

}  // namespace blip
