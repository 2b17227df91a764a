#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <span>
#include <string_view>
#include <vector>

#include "blip/base/context.h"
#include "blip/index/codes.h"

namespace faiss {
struct HNSW;
}

namespace blip {

/// Told how much of a long work is done, from the thread that does it.
using IndexProgress = std::function<void(std::size_t done, std::size_t total)>;

/// The graph of an HNSW index (faiss'), over vectors that lie elsewhere: row i of the graph is row
/// i of the vectors. Searching is const and safe from several threads.
class Graph {
 public:
  Graph();
  Graph(Graph&&) noexcept;
  Graph& operator=(Graph&&) noexcept;
  ~Graph();

  /// Reads what write() wrote. Every number is checked, so that no search can leave the graph or
  /// the vectors, whatever the bytes are. Throws Error{io}; `where` names the file.
  static Graph parse(std::span<const std::byte> bytes, std::size_t rows, std::string_view where);
  void write(std::ostream& out) const;

  /// Rows that have a place; those that were never inserted are not found.
  std::size_t rows() const;
  /// Makes places for rows up to `rows`.
  void grow(std::size_t rows);
  /// Links rows to their near neighbours among those inserted before, as near as codes tell.
  /// Parallel over rows: with more than one thread the graph is a little different each time.
  /// Throws Error{cancelled}; the graph is then of no use.
  void insert(const Codes& codes, std::span<const std::uint32_t> rows, const Context& context,
              const IndexProgress& progress = {});

  /// The nearest `k` rows of each query [queries, width] that a walk with `ef` candidates finds,
  /// nearest first. Fewer where the candidates are. Parallel over queries.
  std::vector<std::vector<Neighbour>> search(const CodedRows& rows, std::span<const float> queries,
                                             std::size_t k, std::size_t ef) const;

 private:
  std::unique_ptr<faiss::HNSW> hnsw_;
};

}  // namespace blip
