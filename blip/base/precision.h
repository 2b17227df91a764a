#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace blip {

/// How linear layers keep their weights and multiply (docs/numerics.md).
enum class Precision {
  f32,
  bf16,  ///< weights rounded to 8 bits of mantissa; pictures' activations too where the CPU
         ///< multiplies bf16
  int8,  ///< weights of 8 bits with a scale per output; pictures' activations quantised per token
};

inline constexpr std::array kPrecisions = {Precision::f32, Precision::bf16, Precision::int8};

constexpr std::string_view name(Precision precision) noexcept {
  constexpr std::string_view kNames[] = {"f32", "bf16", "int8"};
  return kNames[static_cast<std::size_t>(precision)];
}

/// Bytes of a weight.
constexpr std::size_t size_of(Precision precision) noexcept {
  constexpr std::size_t kSizes[] = {4, 2, 1};
  return kSizes[static_cast<std::size_t>(precision)];
}

/// By name(); nothing for another word.
constexpr std::optional<Precision> find_precision(std::string_view wanted) noexcept {
  for (const Precision precision : kPrecisions) {
    if (name(precision) == wanted) return precision;
  }
  return std::nullopt;
}

}  // namespace blip
