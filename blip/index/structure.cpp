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

  /// The sample itself, and removed rows.
  const RowMarks& left_out() const { return left_out_; }

 private:
  RowMarks left_out_;
  std::vector<float> queries_;
  std::vector<std::vector<Neighbour>> truth_;
};

/// Every vector is looked at where no less was found to do.
void set_effort(IndexManifest& next, const Calibration& calibration) {
  const bool found = calibration.effort > 0;
  next.effort = found ? calibration.effort : kExhaustiveEffort;
  next.recall = found ? calibration.recall : 1.0;
}

/// Writes what write(out) writes, for `part` of the manifest to speak of.
template <class Write>
std::shared_ptr<const MappedFile> write_part(const std::filesystem::path& file, IndexPart& part,
                                             Write write) {
  write_file(file, write);
  auto mapped = MappedFile::open(file);
  part = finish_part(*mapped, mapped->bytes().size());
  return mapped;
}

Codes write_codes(const std::filesystem::path& folder, const VectorView& vectors,
                  IndexManifest& next, const Context& context) {
  const auto write = [&](std::ostream& out) { Codes::write(out, vectors, context); };
  return Codes::parse(
      write_part(part_path(folder, "codes", next.generation), next.codes.emplace(), write),
      vectors.count, vectors.width);
}

Sketches write_sketches(const std::filesystem::path& folder, const VectorView& vectors,
                        IndexManifest& next, const Context& context) {
  const auto write = [&](std::ostream& out) { Sketches::write(out, vectors, context); };
  return Sketches::parse(
      write_part(part_path(folder, "sketches", next.generation), next.sketches.emplace(), write),
      vectors.count, vectors.width);
}

/// Measures whether the graph or sketches find enough with less work, and how much of it.
void choose_search(const std::filesystem::path& folder, const CodedRows& rows, const Graph& graph,
                   const Sample& sample, IndexManifest& next, const Context& context) {
  // In what it takes to look at one sketch, about: a candidate of a walk, whose neighbours are met,
  // and one of the sketches, whose code is looked at.
  constexpr std::size_t kWalkCost = 600, kSketchCost = 10;
  const ThreadScope threads(context);
  const std::size_t count = rows.vectors.count;
  const Sketches sketches = write_sketches(folder, rows.vectors, next, context);
  const auto scan = [&](std::span<const float> q, std::size_t candidates) {
    return sketches.search(rows, q, kRecallAt, candidates);
  };
  const auto walk = [&](std::span<const float> q, std::size_t ef) {
    return graph.search(rows, q, kRecallAt, ef);
  };
  const Calibration scanned = sample.calibrate(scan, 64, count / 2, context);
  const std::size_t most = std::min(kMostCandidates, count / 16);
  const std::size_t cost = count + kSketchCost * static_cast<std::size_t>(scanned.effort);
  const std::size_t limit = scanned.effort > 0 ? std::min(most, cost / kWalkCost) : most;
  const Calibration walked = sample.calibrate(walk, 16, limit + 1, context);
  if (walked.effort == 0 && scanned.effort > 0) return set_effort(next, scanned);
  next.sketches.reset();
  std::error_code ignored;
  std::filesystem::remove(part_path(folder, "sketches", next.generation), ignored);
  set_effort(next, walked);
}

Graph build_graph(const std::filesystem::path& folder, const StructureRows& rows,
                  IndexManifest& next, const Context& context, const IndexProgress& progress) {
  const Codes codes = write_codes(folder, rows.vectors, next, context);
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
  graph.insert(codes, others, context, progress);
  if (!queries.empty()) {
    const Sample sample(rows, queries);
    choose_search(folder, {rows.vectors, codes, sample.left_out()}, graph, sample, next, context);
  } else if (anew) {
    next.sketches.reset();
    set_effort(next, {});
  } else if (next.sketches) {
    write_sketches(folder, rows.vectors, next, context);
  }
  graph.insert(codes, queries, context);
  return graph;
}

void write_graph(const std::filesystem::path& folder, const StructureRows& rows,
                 IndexManifest& next, const Context& context, const IndexProgress& progress) {
  const Graph graph = build_graph(folder, rows, next, context, progress);
  write_part(part_path(folder, "graph", next.generation), next.structure,
             [&](std::ostream& out) { graph.write(out); });
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

Codes read_codes(const std::filesystem::path& folder, const IndexManifest& manifest,
                 const VectorView& vectors) {
  if (!manifest.codes) return Codes::of(vectors);
  return Codes::parse(open_part(part_path(folder, "codes", manifest.generation), *manifest.codes),
                      manifest.count, manifest.settings.width);
}

Sketches read_sketches(const std::filesystem::path& folder, const IndexManifest& manifest) {
  if (!manifest.sketches) return {};
  return Sketches::parse(
      open_part(part_path(folder, "sketches", manifest.generation), *manifest.sketches),
      manifest.count, manifest.settings.width);
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
