#pragma once

#include <cstdint>
#include <vector>

#include "blip/index/codes.h"
#include "blip/index/scan.h"

namespace faiss {
struct HNSW;
}

namespace blip {

/// What a thread needs to walk a graph (faiss') by the codes of its rows towards one query after
/// another. faiss' own walk looks at one row after the other and waits for each; this one asks the
/// memory for all neighbours of a row before it looks at the first.
class Walk {
 public:
  /// Both must outlive the walk.
  Walk(const faiss::HNSW& graph, const Codes& codes);

  /// The `ef` nearest rows to `query` [codes.width()] that were met on the way, in no order.
  /// Overwritten by the next call. The graph has an entry.
  std::vector<Neighbour>& towards(const float* query, std::size_t ef);

 private:
  Neighbour descend() const;
  bool visit(std::uint32_t row);
  void meet_neighbours(std::uint32_t row);
  void offer(const Neighbour& met, std::size_t ef);
  void prefetch_next() const;
  Neighbour judge(std::uint32_t row) const { return {row, codes_->similarity(query_, row)}; }

  const faiss::HNSW* graph_;
  const Codes* codes_;
  CodeQuery query_;
  std::vector<std::uint64_t> visited_;  // one bit a row: they fit into a core's own cache
  std::vector<Neighbour> open_;         // whose neighbours were not met; a heap, nearest first
  std::vector<Neighbour> found_;        // a heap, farthest first
  std::vector<std::uint32_t> met_;
};

}  // namespace blip
