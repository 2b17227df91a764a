#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "blip/base/context.h"
#include "blip/index/manifest.h"
#include "blip/index/rows.h"
#include "blip/index/structure.h"

namespace blip {

struct IndexSearch {
  std::size_t k = 10;  ///< neighbours wanted; fewer come when the index has fewer
  /// HNSW: candidates kept (ef) or taken from sketches; IVF: lists looked at; 0: what was measured
  /// when the index was built. As many as the index has rows or lists: every vector is looked at.
  std::size_t effort = 0;
};

/// Marks of the rows that a manifest's "removed" file names; none where nothing was removed.
/// Throws Error{not_found} or Error{io}.
RowMarks read_removed(const std::filesystem::path& folder, const IndexManifest& manifest);

/// A folder of unit vectors and what they stand for, searched by inner product. Vectors, entries
/// and IVF's lists are mapped; HNSW's graph is read into memory. Immutable and safe to share
/// between threads; writers do not disturb it.
class VectorIndex {
 public:
  /// Throws Error{not_found} when the folder is no index, Error{io} when it is damaged, cut short
  /// or its first build has not ended, Error{unsupported} for a later version of the format.
  static VectorIndex open(const std::filesystem::path& folder);

  const IndexManifest& manifest() const { return manifest_; }
  const std::filesystem::path& folder() const { return folder_; }
  const Rows& rows() const { return rows_; }
  /// Whether a row was replaced or taken out since.
  bool removed(std::size_t row) const { return !removed_.empty() && removed_[row]; }

  /// The nearest rows of each of `queries` [count, width], nearest first.
  /// Throws Error{usage} for queries of another width and values that are NaN or infinite.
  std::vector<std::vector<Neighbour>> search(std::span<const float> queries,
                                             const IndexSearch& options,
                                             const Context& context = {}) const;

  /// Compares every row and part with its checksum. Throws Error{io} naming the first damage.
  void verify(const Context& context = {}) const;

 private:
  static VectorIndex open(const std::filesystem::path& folder, const IndexManifest& manifest);
  std::vector<std::vector<Neighbour>> search_all(std::span<const float> queries,
                                                 std::size_t k) const;
  std::vector<std::vector<Neighbour>> search_hnsw(std::span<const float> queries, std::size_t k,
                                                  std::size_t candidates) const;

  std::filesystem::path folder_;
  IndexManifest manifest_;
  Rows rows_;
  RowMarks removed_;
  Graph graph_;        // hnsw
  Codes codes_;        // hnsw
  Sketches sketches_;  // hnsw, where they do better
  MappedLists lists_;  // ivf
};

}  // namespace blip
