#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "blip/base/json.h"
#include "blip/index/part.h"

namespace blip {

/// How neighbours are found.
enum class IndexKind {
  flat,  ///< every vector is looked at: exact
  hnsw,  ///< a graph of near neighbours, walked towards the query (arXiv 1603.09320)
  ivf,   ///< vectors in lists by their nearest centroid; only the nearest lists are looked at
};
/// "flat", "hnsw", "ivf"
std::string_view name(IndexKind kind) noexcept;

/// What an index's vectors stand for.
enum class IndexContent { images, texts };
/// "images", "texts"
std::string_view name(IndexContent content) noexcept;

/// What all vectors of an index have in common. Vectors that differ in any of it but `kind` cannot
/// be compared.
struct IndexSettings {
  IndexKind kind = IndexKind::flat;
  IndexContent content = IndexContent::images;
  std::size_t width = 0;  ///< values of a vector
  std::string model;      ///< fingerprint of the weights that made them
  Json preprocessing;     ///< what was done to pictures or texts before the model saw them
  Json opened_with;       ///< how to open the model again; not compared
};

/// Throws Error{usage} naming what differs: content, width, model or preprocessing. `where` names
/// the index.
void require_same(const IndexSettings& index, const IndexSettings& wanted, std::string_view where);

/// manifest.json: which rows and files make up the index. Replacing it is what makes a change
/// happen.
struct IndexManifest {
  IndexSettings settings;
  std::uint64_t generation = 0;  ///< changes so far; 0: the first build has not ended
  std::uint64_t row_files = 1;   ///< number in the names of the files of rows
  std::size_t count = 0;         ///< rows, removed ones included
  std::size_t removed_count = 0;
  IndexPart removed;                  ///< when removed_count > 0
  IndexPart structure;                ///< graph or lists; not for flat
  std::optional<IndexPart> codes;     ///< for hnsw; indexes of earlier programs have none
  std::optional<IndexPart> sketches;  ///< for hnsw where they do better than the graph
  int effort = 0;                     ///< HNSW: candidates; IVF: lists looked at; flat: 0
  double recall = 1;                  ///< share of the true 10 nearest found with it, as measured
  std::size_t live() const { return count - removed_count; }
};

inline constexpr std::size_t kMaxIndexWidth = 65536;
inline constexpr std::size_t kMaxIndexRows = 0x7fffffff;  // faiss' graph counts in int
/// IndexManifest::effort where every vector is looked at.
inline constexpr int kExhaustiveEffort = 0x7fffffff;

/// Reads and checks INDEX/manifest.json. Throws Error{not_found} when the folder holds none,
/// Error{io} naming what is wrong with it, Error{unsupported} for a later version of the format.
IndexManifest read_manifest(const std::filesystem::path& folder);
/// The same from its text, for tests.
IndexManifest parse_manifest(std::string_view text, std::string_view where);

/// Replaces INDEX/manifest.json, on disk before it returns. Throws Error{io}.
void publish_manifest(const std::filesystem::path& folder, const IndexManifest& manifest);

}  // namespace blip
