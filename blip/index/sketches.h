#pragma once

#include <cstdint>
#include <memory>
#include <ostream>
#include <span>
#include <string_view>
#include <vector>

#include "blip/index/codes.h"
#include "blip/index/scan.h"

namespace blip {

/// The signs of vectors, one bit a value. Where nothing tells a walk which way leads nearer, as
/// among random vectors, looking at the signs of all rows is quicker than meeting most of them in
/// a graph: a million take 32 MB. The most promising rows are then judged by codes and vectors.
/// Immutable and safe to share between threads.
class Sketches {
 public:
  Sketches() = default;
  /// Throws Error{cancelled}.
  static void write(std::ostream& out, const VectorView& vectors, const Context& context);
  /// What write() wrote, in mapped memory. Any values can be searched. Throws Error{io} unless the
  /// file has the size of `rows` sketches.
  static Sketches parse(std::shared_ptr<const MappedFile> file, std::size_t rows,
                        std::size_t width);
  /// The same on bytes in memory, which must outlive the sketches.
  static Sketches parse(std::span<const std::byte> bytes, std::size_t rows, std::size_t width,
                        std::string_view where);

  /// The nearest `k` rows of each query [queries, width] among about `candidates` that their signs
  /// promise most of, nearest first. Parallel over queries.
  std::vector<std::vector<Neighbour>> search(const CodedRows& rows, std::span<const float> queries,
                                             std::size_t k, std::size_t candidates) const;

 private:
  const std::uint8_t* bytes_ = nullptr;
  std::size_t count_ = 0;
  std::size_t width_ = 0;
  std::shared_ptr<const MappedFile> owner_;
};

}  // namespace blip
