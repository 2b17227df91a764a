#pragma once

#include <filesystem>
#include <memory>

#include "blip/base/context.h"
#include "blip/base/file.h"
#include "blip/index/graph.h"
#include "blip/index/lists.h"
#include "blip/index/manifest.h"
#include "blip/index/sketches.h"

namespace blip {

/// The graph that an index's manifest speaks of, checked. Throws Error{not_found} or Error{io}.
Graph read_graph(const std::filesystem::path& folder, const IndexManifest& manifest);

/// The codes that the graph is walked by, which stay in the mapped file and are not compared with
/// its checksum; computed from the vectors for an index that has none.
Codes read_codes(const std::filesystem::path& folder, const IndexManifest& manifest,
                 const VectorView& vectors);

/// The sketches that are looked at in the graph's place, mapped and not compared with their
/// checksum; none where the graph does better.
Sketches read_sketches(const std::filesystem::path& folder, const IndexManifest& manifest);

/// The same for lists, which stay in the mapped file; their vectors are not compared with any
/// checksum.
struct MappedLists {
  std::shared_ptr<const MappedFile> file;
  Lists lists;
};
MappedLists read_lists(const std::filesystem::path& folder, const IndexManifest& manifest);

/// Rows to build a structure of.
struct StructureRows {
  VectorView vectors;
  const RowMarks& removed;          ///< empty, or one mark for each row
  const IndexManifest* grown_from;  ///< the first rows are this index's; nullptr: none are
};

/// Writes the graph or lists of the rows into `folder` as `next.generation`'s, and fills in
/// `next.structure`, `codes`, `sketches`, `effort` and `recall`. Builds upon the structure of
/// `grown_from`. Throws Error{cancelled} and Error{io}.
void build_structure(const std::filesystem::path& folder, const StructureRows& rows,
                     IndexManifest& next, const Context& context, const IndexProgress& progress);

}  // namespace blip
