#pragma once

#include <cstdint>

namespace blip {

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and the same on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

  /// Uniform in [0, 1), 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

/// Seed of one of a family of streams. Streams of neighbouring seeds and indices must not be
/// shifted copies of each other, so both go through the generator before they become a seed.
inline std::uint64_t stream_seed(std::uint64_t seed, std::uint64_t index) {
  return Random(seed).next() ^ Random(~index).next();
}

}  // namespace blip
