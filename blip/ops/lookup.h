#pragma once

#include <cstddef>
#include <cstdint>

namespace blip {

/// Rows in a block of lookup_sums(), and bytes that a group of a block takes.
inline constexpr std::size_t kLookupRows = 32;
inline constexpr std::size_t kLookupBytes = 16;
/// The number of groups is a multiple of this.
inline constexpr std::size_t kLookupGroups = 4;

/// For rows that are numbers of 4 bits, one for each group: the sum of what tables [groups, 16]
/// hold for them. Blocks [count, groups, kLookupBytes]: byte i of a group holds the numbers of row
/// i, low, and row 16 + i, high. No sum may exceed 65535. `sums` [count, kLookupRows]. Serial.
void lookup_sums(const std::uint8_t* blocks, std::size_t count, const std::uint8_t* tables,
                 std::size_t groups, std::uint16_t* sums);

}  // namespace blip
