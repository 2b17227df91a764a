#include "blip/index/structure.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "blip/index/calibrate.h"

namespace blip {
namespace {

/// A graph of fewer rows is built anew when rows come to it: that is quick, and tells again how
/// much must be looked at.
constexpr std::size_t kSmallGraph = 8192;
/// With more candidates a walk takes as long as looking at every vector.
constexpr std::size_t kMostCandidates = 8192;

std::vector<std::uint32_t> live_rows(const StructureRows& rows, std::size_t first) {
  std::vector<std::uint32_t> live;
  for (std::size_t row = first; row < rows.vectors.count; ++row) {
    if (rows.removed.empty() || !rows.removed[row]) live.push_back(static_cast<std::uint32_t>(row));
  }
  return live;
}

/// Rows that are used as queries, and what is near them among all others.
class Sample {
 public:
  Sample(const StructureRows& rows, std::span<const std::uint32_t> queries)
      : left_out_(rows.removed) {
    const VectorView& vectors = rows.vectors;
    left_out_.resize(vectors.count);
    for (const std::uint32_t row : queries) {
      left_out_[row] = true;
      queries_.insert(queries_.end(), vectors[row], vectors[row] + vectors.width);
    }
    std::vector<Nearest> nearest(queries.size(), Nearest(kRecallAt));
    scan(vectors, {}, left_out_, queries_.data(), nearest);
    for (Nearest& of_query : nearest) truth_.push_back(of_query.take());
  }

  /// search(queries, effort) with the least effort from `first` on that finds the truth.
  template <class Search>
  Calibration calibrate(Search search, std::size_t first, std::size_t limit,
                        const Context& context) const {
    const auto search_others = [&](std::size_t effort) {
      context.check_stop();
      std::vector<std::vector<Neighbour>> found = search(queries_, effort);
      for (std::vector<Neighbour>& neighbours : found) {
        std::erase_if(neighbours, [&](const Neighbour& n) { return left_out_[n.row]; });
      }
      return found;
    };
    return blip::calibrate(truth_, search_others, first, limit);
  }

 private:
  RowMarks left_out_;  // the sample itself, and removed rows
  std::vector<float> queries_;
  std::vector<std::vector<Neighbour>> truth_;
};

/// Every vector is looked at where no less was found to do.
void set_effort(IndexManifest& next, const Calibration& calibration) {
  const bool found = calibration.effort > 0;
  next.effort = found ? calibration.effort : kExhaustiveEffort;
  next.recall = found ? calibration.recall : 1.0;
}

Graph build_graph(const std::filesystem::path& folder, const StructureRows& rows,
                  IndexManifest& next, const Context& context, const IndexProgress& progress) {
  Graph graph;
  if (rows.grown_from != nullptr && rows.grown_from->count >= kSmallGraph) {
    graph = read_graph(folder, *rows.grown_from);
  }
  const bool anew = graph.rows() == 0;
  const std::vector<std::uint32_t> added = live_rows(rows, graph.rows());
  // Rows to measure with are linked last: a graph that knows a query finds it too easily.
  const std::vector<std::uint32_t> queries = sample_queries(added);
  std::vector<std::uint32_t> others;
  std::set_difference(added.begin(), added.end(), queries.begin(), queries.end(),
                      std::back_inserter(others));
  graph.grow(rows.vectors.count);
  graph.insert(rows.vectors, others, context, progress);
  if (queries.empty()) {
    if (anew) set_effort(next, {});
    return graph;
  }
  {
    const ThreadScope threads(context);
    const auto search = [&](std::span<const float> q, std::size_t ef) {
      return graph.search(rows.vectors, q, ef);
    };
    const std::size_t limit = std::min(kMostCandidates, rows.vectors.count / 16) + 1;
    set_effort(next, Sample(rows, queries).calibrate(search, 16, limit, context));
  }
  graph.insert(rows.vectors, queries, context);
  return graph;
}

void write_graph(const std::filesystem::path& folder, const StructureRows& rows,
                 IndexManifest& next, const Context& context, const IndexProgress& progress) {
  const Graph graph = build_graph(folder, rows, next, context, progress);
  const std::filesystem::path file = part_path(folder, "graph", next.generation);
  write_file(file, [&](std::ostream& out) { graph.write(out); });
  const auto mapped = MappedFile::open(file);
  next.structure = finish_part(*mapped, mapped->bytes().size());
}

void write_lists(const std::filesystem::path& folder, const StructureRows& rows,
                 IndexManifest& next, const Context& context) {
  const std::vector<std::uint32_t> live = live_rows(rows, 0);
  Centroids centroids;
  if (rows.grown_from != nullptr)
    centroids = read_lists(folder, *rows.grown_from).lists.centroids();
  if (centroids.vectors.empty() || live.size() > 2 * centroids.trained_rows) {
    centroids = train_centroids(rows.vectors, live, context);
  }
  const std::filesystem::path file = part_path(folder, "lists", next.generation);
  write_file(file,
             [&](std::ostream& out) { Lists::write(out, rows.vectors, live, centroids, context); });
  const auto mapped = MappedFile::open(file);
  const Lists lists =
      Lists::parse(mapped->bytes(), rows.vectors.count, rows.vectors.width, file.string());
  next.structure = finish_part(*mapped, lists.head_bytes());

  const ThreadScope threads(context);
  const std::vector<std::uint32_t> queries = sample_queries(live);
  const auto search = [&](std::span<const float> q, std::size_t probes) {
    return lists.search(q, 2 * kRecallAt, probes);  // some are of the sample
  };
  set_effort(next, queries.empty()
                       ? Calibration{}
                       : Sample(rows, queries).calibrate(search, 1, lists.count(), context));
}

}  // namespace

Graph read_graph(const std::filesystem::path& folder, const IndexManifest& manifest) {
  const auto file = open_part(part_path(folder, "graph", manifest.generation), manifest.structure);
  require_checksum(*file, file->bytes().size(), manifest.structure);
  return Graph::parse(file->bytes(), manifest.count, file->path().string());
}

MappedLists read_lists(const std::filesystem::path& folder, const IndexManifest& manifest) {
  auto file = open_part(part_path(folder, "lists", manifest.generation), manifest.structure);
  Lists lists =
      Lists::parse(file->bytes(), manifest.count, manifest.settings.width, file->path().string());
  require_checksum(*file, lists.head_bytes(), manifest.structure);
  return {std::move(file), std::move(lists)};
}

void build_structure(const std::filesystem::path& folder, const StructureRows& rows,
                     IndexManifest& next, const Context& context, const IndexProgress& progress) {
  if (next.settings.kind == IndexKind::hnsw) write_graph(folder, rows, next, context, progress);
  if (next.settings.kind == IndexKind::ivf) write_lists(folder, rows, next, context);
}

}  // namespace blip
