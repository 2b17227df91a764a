#pragma once

#include <ostream>
#include <span>
#include <string_view>
#include <vector>

#include "blip/base/context.h"
#include "blip/index/scan.h"

namespace blip {

/// Centroids of an IVF index, by faiss' k-means.
struct Centroids {
  std::vector<float> vectors;    ///< [count, width], each of length 1
  std::size_t trained_rows = 0;  ///< how many rows the index had
};

/// About 2 sqrt(rows) centroids from a sample of the `rows` of `vectors`: at most 50 of them for
/// each centroid are copied. Throws Error{cancelled}, Error{io} for damaged vectors.
Centroids train_centroids(const VectorView& vectors, std::span<const std::uint32_t> rows,
                          const Context& context);

/// The lists of an IVF index: each vector beside those that are nearest to the same centroid, so
/// that a list is one stream of memory. Lie in mapped memory; searching is const and safe from
/// several threads.
class Lists {
 public:
  Lists() = default;
  /// Looks at bytes that write() wrote. Every number is checked, so that no search can leave them.
  /// Throws Error{io}; `where` names the file. The bytes must outlive the lists.
  static Lists parse(std::span<const std::byte> bytes, std::size_t rows, std::size_t width,
                     std::string_view where);
  /// Puts each of `rows` into the list of its nearest centroid. Throws Error{cancelled}.
  static void write(std::ostream& out, const VectorView& vectors,
                    std::span<const std::uint32_t> rows, const Centroids& centroids,
                    const Context& context);

  std::size_t count() const { return begins_.empty() ? 0 : begins_.size() - 1; }
  Centroids centroids() const;
  /// Bytes before the vectors: all that was checked.
  std::size_t head_bytes() const { return head_bytes_; }

  /// The nearest `k` rows of each query [queries, width] in the `probes` lists nearest to it, or in
  /// more where these hold fewer than `k`.
  std::vector<std::vector<Neighbour>> search(std::span<const float> queries, std::size_t k,
                                             std::size_t probes) const;
  /// Whether each vector is the one that its row has.
  bool holds_vectors_of(const VectorView& vectors) const;

 private:
  std::size_t width_ = 0;
  std::size_t trained_rows_ = 0;
  std::size_t head_bytes_ = 0;
  std::span<const float> centroids_;    // [lists, width]
  std::vector<std::size_t> begins_;     // [lists + 1]
  std::span<const std::uint32_t> ids_;  // [rows in lists]
  const float* vectors_ = nullptr;      // [rows in lists, width]
};

}  // namespace blip
