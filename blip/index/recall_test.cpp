// What takes longer than a unit test may: the recall that is promised for HNSW.
#include <gtest/gtest.h>

#include <algorithm>

#include "blip/index/index.h"
#include "blip/index/index_folder_test.h"
#include "blip/index/writer.h"

namespace blip {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t kCount = 4000;  // there it would take a quarter of an hour
#else
constexpr std::size_t kCount = 100'000;
#endif

/// Directions that are all equally likely are the hardest: nothing tells which way leads nearer.
TEST(Recall, OfHnswOnRandomUnitVectors) {
  constexpr std::size_t kWidth = 256, kQueries = 200;
  const IndexFolder folder;
  const auto path = folder.path() / "index";
  const auto stored = unit_vectors(kCount, kWidth, 1);
  const auto queries = unit_vectors(kQueries, kWidth, 2);
  IndexManifest manifest;
  {
    IndexWriter writer = IndexWriter::create(path, settings_for(IndexKind::hnsw, kWidth));
    for (std::size_t row = 0; row < kCount; ++row) {
      writer.append({std::to_string(row)}, std::span(stored).subspan(row * kWidth, kWidth));
    }
    manifest = writer.commit();
  }
  const auto found = VectorIndex::open(path).search(queries, {.k = 10});
  std::vector<Nearest> nearest(kQueries, Nearest(10));
  scan(view(stored, kWidth), {}, {}, queries.data(), nearest);
  std::size_t hits = 0;
  for (std::size_t q = 0; q < kQueries; ++q) {
    for (const Neighbour& wanted : nearest[q].take()) {
      hits += static_cast<std::size_t>(
          std::any_of(found[q].begin(), found[q].end(),
                      [&](const Neighbour& n) { return n.row == wanted.row; }));
    }
  }
  EXPECT_GE(static_cast<double>(hits) / (kQueries * 10), 0.99);
  EXPECT_GE(manifest.recall, 0.99);
  if (kCount == 100'000) {
    EXPECT_LE(manifest.effort, 8192) << "it must walk the graph, not look at everything";
  }
  RecordProperty("effort", manifest.effort);
}

}  // namespace
}  // namespace blip
