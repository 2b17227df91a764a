#include "blip/index/index.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "blip/base/error.h"

namespace blip {

RowMarks read_removed(const std::filesystem::path& folder, const IndexManifest& manifest) {
  if (manifest.removed_count == 0) return {};
  const std::filesystem::path file = part_path(folder, "removed", manifest.generation);
  const auto mapped = open_part(file, manifest.removed);
  const auto bytes = mapped->bytes();
  require_checksum(*mapped, bytes.size(), manifest.removed);
  if (bytes.size() != manifest.removed_count * sizeof(std::uint32_t)) {
    throw Error(ErrorCode::io, file.string() + " has another size than the manifest says");
  }
  RowMarks removed(manifest.count);
  for (std::size_t i = 0; i < manifest.removed_count; ++i) {
    std::uint32_t row;
    std::memcpy(&row, bytes.data() + i * sizeof row, sizeof row);
    if (row >= manifest.count || removed[row]) {
      throw Error(ErrorCode::io, file.string() + " names a row that is not there");
    }
    removed[row] = true;
  }
  return removed;
}

VectorIndex VectorIndex::open(const std::filesystem::path& folder) {
  // A writer may replace the manifest and delete what the old one spoke of in between.
  constexpr int kAttempts = 5;
  for (int attempt = 1;; ++attempt) {
    const IndexManifest manifest = read_manifest(folder);
    if (manifest.generation == 0) {
      throw Error(ErrorCode::io, "the index " + folder.string() +
                                     " is unfinished: build it again, which goes on where it was "
                                     "stopped");
    }
    try {
      return open(folder, manifest);
    } catch (const Error& e) {
      if (e.code() != ErrorCode::not_found || attempt == kAttempts) throw;
    }
  }
}

VectorIndex VectorIndex::open(const std::filesystem::path& folder, const IndexManifest& manifest) {
  VectorIndex index;
  index.folder_ = folder;
  index.manifest_ = manifest;
  index.rows_ = Rows(folder, manifest.row_files, manifest.settings.width, manifest.count);
  index.removed_ = read_removed(folder, manifest);
  if (manifest.settings.kind == IndexKind::hnsw) {
    index.graph_ = read_graph(folder, manifest);
    index.codes_ = read_codes(folder, manifest, index.rows_.vectors());
    index.sketches_ = read_sketches(folder, manifest);
  }
  if (manifest.settings.kind == IndexKind::ivf) index.lists_ = read_lists(folder, manifest);
  return index;
}

std::vector<std::vector<Neighbour>> VectorIndex::search(std::span<const float> queries,
                                                        const IndexSearch& options,
                                                        const Context& context) const {
  const std::size_t width = manifest_.settings.width;
  if (queries.size() % width != 0) {
    throw Error(ErrorCode::usage, "queries of " + std::to_string(width) +
                                      " values were expected, but " +
                                      std::to_string(queries.size()) + " values came");
  }
  require_finite(queries, "queries");
  const ThreadScope threads(context);
  const std::size_t k = std::min(options.k, manifest_.live());
  const std::size_t effort =
      options.effort > 0 ? options.effort : static_cast<std::size_t>(manifest_.effort);
  switch (manifest_.settings.kind) {
    case IndexKind::flat:
      break;
    case IndexKind::hnsw:
      return search_hnsw(queries, k, std::max(effort, k));
    case IndexKind::ivf:
      if (effort < lists_.lists.count()) return lists_.lists.search(queries, k, effort);
  }
  return search_all(queries, k);
}

std::vector<std::vector<Neighbour>> VectorIndex::search_all(std::span<const float> queries,
                                                            std::size_t k) const {
  std::vector<Nearest> nearest(queries.size() / manifest_.settings.width, Nearest(k));
  scan(rows_.vectors(), {}, removed_, queries.data(), nearest);
  std::vector<std::vector<Neighbour>> found;
  for (Nearest& of_query : nearest) found.push_back(of_query.take());
  return found;
}

std::vector<std::vector<Neighbour>> VectorIndex::search_hnsw(std::span<const float> queries,
                                                             std::size_t k,
                                                             std::size_t candidates) const {
  // Removed rows lead on to others, but take places among the candidates.
  if (!removed_.empty()) candidates += candidates * manifest_.removed_count / manifest_.count;
  if (candidates >= manifest_.count) return search_all(queries, k);
  const CodedRows rows{rows_.vectors(), codes_, removed_};
  std::vector<std::vector<Neighbour>> found = manifest_.sketches
                                                  ? sketches_.search(rows, queries, k, candidates)
                                                  : graph_.search(rows, queries, k, candidates);
  for (const std::vector<Neighbour>& neighbours : found) {
    if (neighbours.size() < k) return search_hnsw(queries, k, 2 * candidates);
  }
  return found;
}

void VectorIndex::verify(const Context& context) const {
  constexpr std::size_t kBatch = 4096;  // between two looks at the stop flag
  for (std::size_t row = 0; row < manifest_.count; ++row) {
    if (row % kBatch == 0) context.check_stop();
    rows_.verify(row);
  }
  const auto compare = [&](const char* stem, const std::optional<IndexPart>& part) {
    if (!part) return;
    const auto file = open_part(part_path(folder_, stem, manifest_.generation), *part);
    require_checksum(*file, file->bytes().size(), *part);
  };
  compare("codes", manifest_.codes);
  compare("sketches", manifest_.sketches);
  if (lists_.file && !lists_.lists.holds_vectors_of(rows_.vectors())) {
    throw Error(ErrorCode::io,
                lists_.file->path().string() + " holds other vectors than the rows that it names");
  }
}

}  // namespace blip
