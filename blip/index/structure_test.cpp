// What finds neighbours: the scan, the graph and the lists, each against the definition.
#include "blip/index/structure.h"

#include <faiss/utils/distances.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <set>
#include <sstream>

#include "blip/index/calibrate.h"
#include "blip/index/index_folder_test.h"

namespace blip {
namespace {

std::vector<std::uint32_t> all_rows(std::size_t count) {
  std::vector<std::uint32_t> rows(count);
  std::iota(rows.begin(), rows.end(), 0u);
  return rows;
}

std::set<std::uint32_t> rows_of(const std::vector<Neighbour>& neighbours) {
  std::set<std::uint32_t> rows;
  for (const Neighbour& n : neighbours) rows.insert(n.row);
  return rows;
}

std::vector<std::vector<Neighbour>> scan_all(const VectorView& vectors,
                                             const std::vector<float>& queries, std::size_t k) {
  std::vector<Nearest> nearest(queries.size() / vectors.width, Nearest(k));
  scan(vectors, {}, {}, queries.data(), nearest);
  std::vector<std::vector<Neighbour>> found;
  for (Nearest& of_query : nearest) found.push_back(of_query.take());
  return found;
}

std::string bytes_of(const Graph& graph) {
  std::ostringstream out;
  graph.write(out);
  return out.str();
}

Graph graph_of(const VectorView& vectors) {
  Graph graph;
  graph.grow(vectors.count);
  graph.insert(Codes::of(vectors), all_rows(vectors.count), {.num_threads = 1});
  return graph;
}

std::string lists_of(const VectorView& vectors) {
  const auto rows = all_rows(vectors.count);
  std::ostringstream out;
  Lists::write(out, vectors, rows, train_centroids(vectors, rows, {}), {});
  return out.str();
}

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

TEST(Scan, EqualsTheNaiveScan) {
  for (const std::size_t width : {1, 7, 20, 256}) {
    for (const std::size_t count : {1, 9, 1000, 9000}) {
      const auto stored = unit_vectors(count, width, count);
      const auto queries = unit_vectors(19, width, 2);
      const auto found = scan_all(view(stored, width), queries, 10);
      for (std::size_t q = 0; q < found.size(); ++q) {
        const auto wanted = naive_search(view(stored, width), &queries[q * width], 10);
        ASSERT_EQ(found[q].size(), wanted.size());
        for (std::size_t i = 0; i < wanted.size(); ++i) {
          EXPECT_NEAR(found[q][i].similarity, wanted[i].similarity, 1e-6);
        }
        if (width >= 20) {
          EXPECT_EQ(rows_of(found[q]), rows_of(wanted));
        }
      }
    }
  }
}

TEST(Scan, EqualsFaissFlatSearch) {
  constexpr std::size_t kWidth = 64, kCount = 3000, kQueries = 25, kK = 10;
  const auto stored = unit_vectors(kCount, kWidth, 1);
  const auto queries = unit_vectors(kQueries, kWidth, 2);
  std::vector<float> similarities(kQueries * kK);
  std::vector<std::int64_t> rows(kQueries * kK);
  faiss::float_minheap_array_t heaps{kQueries, kK, rows.data(), similarities.data()};
  faiss::knn_inner_product(queries.data(), stored.data(), kWidth, kQueries, kCount, &heaps);
  const auto found = scan_all(view(stored, kWidth), queries, kK);
  for (std::size_t q = 0; q < kQueries; ++q) {
    for (std::size_t i = 0; i < kK; ++i) {
      EXPECT_EQ(found[q][i].row, rows[q * kK + i]);
      EXPECT_NEAR(found[q][i].similarity, similarities[q * kK + i], 1e-6);
    }
  }
}

TEST(Scan, LeavesOutMarkedRowsAndWhatIsNoNumber) {
  auto stored = unit_vectors(100, 8, 1);
  stored[3 * 8] = std::nanf("");
  const auto queries = unit_vectors(1, 8, 2);
  RowMarks left_out(100);
  left_out[5] = true;
  Nearest nearest(100);
  scan(view(stored, 8), {}, left_out, queries.data(), {&nearest, 1});
  const auto rows = rows_of(nearest.take());
  EXPECT_EQ(rows.size(), 98u);
  EXPECT_FALSE(rows.contains(3) || rows.contains(5));
}

TEST(Scan, EqualVectorsComeOldestFirst) {
  std::vector<float> stored;
  for (int i = 0; i < 50; ++i) stored.insert(stored.end(), {0.6f, 0.8f});
  const std::vector<float> query = {1, 0};
  const auto found = scan_all(view(stored, 2), query, 4)[0];
  for (std::uint32_t i = 0; i < 4; ++i) EXPECT_EQ(found[i].row, i);
}

TEST(Graph, FindsNeighboursAndComesBackFromBytes) {
  constexpr std::size_t kWidth = 32, kCount = 3000;
  const auto stored = unit_vectors(kCount, kWidth, 1);
  const auto queries = unit_vectors(50, kWidth, 2);
  const Codes codes = Codes::of(view(stored, kWidth));
  const Graph graph = graph_of(view(stored, kWidth));
  const auto found = graph.search({view(stored, kWidth), codes, {}}, queries, 10, 256);
  EXPECT_GT(recall(scan_all(view(stored, kWidth), queries, 10), found), 0.98);
  EXPECT_TRUE(std::is_sorted(found[0].begin(), found[0].end(), is_nearer));

  const std::string bytes = bytes_of(graph);
  const Graph read = Graph::parse(as_bytes(bytes), kCount, "it");
  EXPECT_EQ(bytes_of(read), bytes);
  const auto again = read.search({view(stored, kWidth), codes, {}}, queries, 10, 256);
  for (std::size_t q = 0; q < found.size(); ++q) EXPECT_EQ(rows_of(found[q]), rows_of(again[q]));
}

TEST(Graph, GrownEqualsBuiltAtOnce) {
  constexpr std::size_t kWidth = 16, kCount = 600;
  const auto stored = unit_vectors(kCount, kWidth, 1);
  const Codes codes = Codes::of(view(stored, kWidth));
  const auto rows = all_rows(kCount);
  Graph grown;
  for (const std::size_t end : {0, 1, 250, 600}) {
    const std::size_t begin = grown.rows();
    grown.grow(end);
    grown.insert(codes, std::span(rows).subspan(begin, end - begin), {.num_threads = 1});
    const std::string bytes = bytes_of(grown);
    grown = Graph::parse(as_bytes(bytes), end, "it");
  }
  EXPECT_EQ(bytes_of(grown), bytes_of(graph_of(view(stored, kWidth))));
}

TEST(Graph, WithoutRowsFindsNothing) {
  const Graph empty = Graph::parse(as_bytes(bytes_of(Graph())), 0, "it");
  EXPECT_TRUE(empty.search({{nullptr, 0, 4}, {}, {}}, unit_vectors(1, 4, 1), 10, 10)[0].empty());
}

TEST(Graph, StopsOnRequest) {
  const auto stored = unit_vectors(100, 8, 1);
  const std::atomic<bool> stop = true;
  Graph graph;
  graph.grow(100);
  EXPECT_EQ(
      code_of([&] { graph.insert(Codes::of(view(stored, 8)), all_rows(100), {.stop = &stop}); }),
      ErrorCode::cancelled);
}

/// Hostile bytes are refused, or searched without leaving memory (the sanitizers watch).
template <class Use>
void survive_damage(const std::string& whole, Use use) {
  Random random(7);
  for (std::size_t cut = 0; cut < whole.size(); cut += 1 + cut / 20) {
    EXPECT_EQ(code_of([&] { use(whole.substr(0, cut)); }), ErrorCode::io) << cut;
  }
  EXPECT_EQ(code_of([&] { use(whole + "x"); }), ErrorCode::io);
  const std::uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = whole;
    const std::size_t at = i < 200 ? static_cast<std::size_t>(i) : random.next() % whole.size();
    damaged[at] = static_cast<char>(values[random.next() % 5]);
    try {
      use(damaged);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::io);
    }
  }
}

TEST(Graph, DamagedBytesDoNoHarm) {
  const auto stored = unit_vectors(80, 8, 1);
  const auto queries = unit_vectors(2, 8, 2);
  const Codes codes = Codes::of(view(stored, 8));
  survive_damage(bytes_of(graph_of(view(stored, 8))), [&](const std::string& bytes) {
    const Graph graph = Graph::parse(as_bytes(bytes), 80, "it");
    graph.search({view(stored, 8), codes, {}}, queries, 10, 20);
  });
}

TEST(Codes, ComeBackFromBytesAndAreNearToTheVectors) {
  for (const std::size_t width : {1, 7, 20, 256, 1000}) {
    const auto stored = unit_vectors(37, width, 1);
    const auto queries = unit_vectors(3, width, 2);
    std::ostringstream out;
    Codes::write(out, view(stored, width), {});
    const std::string bytes = out.str();
    const Codes codes = Codes::parse(as_bytes(bytes), 37, width, "it");
    const Codes in_memory = Codes::of(view(stored, width));
    for (std::size_t q = 0; q < 3; ++q) {
      CodeQuery query(width);
      query.set(&queries[q * width]);
      for (const Neighbour& n : naive_search(view(stored, width), &queries[q * width], 37)) {
        EXPECT_NEAR(codes.similarity(query, n.row), n.similarity, 0.008) << width;
        EXPECT_EQ(codes.similarity(query, n.row), in_memory.similarity(query, n.row));
      }
    }
    EXPECT_EQ(code_of([&] { Codes::parse(as_bytes(bytes + "x"), 37, width, "it"); }),
              ErrorCode::io);
  }
}

TEST(Codes, AnyBytesCanBeSearched) {
  const auto stored = unit_vectors(80, 8, 1);
  const auto queries = unit_vectors(2, 8, 2);
  const Graph graph = graph_of(view(stored, 8));
  for (const int byte : {0x00, 0x7f, 0x80, 0xff}) {  // scales of 0, 3e38, -0 and NaN
    const std::string bytes(80 * (8 + sizeof(float)), static_cast<char>(byte));
    const Codes codes = Codes::parse(as_bytes(bytes), 80, 8, "it");
    EXPECT_EQ(graph.search({view(stored, 8), codes, {}}, queries, 10, 20)[0].size(), 10u);
  }
}

TEST(Sketches, WithAllRowsAsCandidatesEqualTheScan) {
  for (const std::size_t width : {3, 16, 20, 256, 1100}) {
    for (const std::size_t count : {1, 31, 32, 500}) {
      const auto stored = unit_vectors(count, width, count);
      const auto queries = unit_vectors(3, width, 2);
      const Codes codes = Codes::of(view(stored, width));
      std::ostringstream out;
      Sketches::write(out, view(stored, width), {});
      const std::string bytes = out.str();
      const Sketches sketches = Sketches::parse(as_bytes(bytes), count, width, "it");
      const auto found = sketches.search({view(stored, width), codes, {}}, queries, 10, count);
      const auto truth = scan_all(view(stored, width), queries, 10);
      for (std::size_t q = 0; q < 3; ++q) {
        if (width > 3) {
          EXPECT_EQ(rows_of(found[q]), rows_of(truth[q]));
        }
        EXPECT_EQ(found[q].size(), truth[q].size());
      }
      EXPECT_EQ(code_of([&] { Sketches::parse(as_bytes(bytes + "x"), count, width, "it"); }),
                ErrorCode::io);
    }
  }
}

TEST(Sketches, LeaveOutMarkedRows) {
  const auto stored = unit_vectors(64, 32, 1);
  const Codes codes = Codes::of(view(stored, 32));
  std::ostringstream out;
  Sketches::write(out, view(stored, 32), {});
  const std::string bytes = out.str();
  RowMarks left_out(64);
  left_out[5] = true;
  const auto found = Sketches::parse(as_bytes(bytes), 64, 32, "it")
                         .search({view(stored, 32), codes, left_out},
                                 std::span(stored).subspan(5 * 32, 32), 64, 64)[0];
  EXPECT_EQ(found.size(), 63u);
  EXPECT_FALSE(rows_of(found).contains(5));
}

TEST(Lists, DamagedBytesDoNoHarm) {
  const auto stored = unit_vectors(80, 8, 1);
  const auto queries = unit_vectors(2, 8, 2);
  survive_damage(lists_of(view(stored, 8)), [&](const std::string& bytes) {
    const Lists lists = Lists::parse(as_bytes(bytes), 80, 8, "it");
    lists.search(queries, 20, 5);
  });
}

TEST(Lists, AllOfThemTogetherHoldEverything) {
  constexpr std::size_t kWidth = 24, kCount = 2500;
  const auto stored = unit_vectors(kCount, kWidth, 1);
  const auto queries = unit_vectors(30, kWidth, 2);
  const std::string bytes = lists_of(view(stored, kWidth));
  const Lists lists = Lists::parse(as_bytes(bytes), kCount, kWidth, "it");
  EXPECT_EQ(lists.count(), 100u);
  EXPECT_TRUE(lists.holds_vectors_of(view(stored, kWidth)));
  const auto truth = scan_all(view(stored, kWidth), queries, 10);
  const auto all = lists.search(queries, 10, lists.count());
  for (std::size_t q = 0; q < truth.size(); ++q) EXPECT_EQ(rows_of(all[q]), rows_of(truth[q]));
  const double tenth = recall(truth, lists.search(queries, 10, 10));
  EXPECT_GT(tenth, 0.3) << "a tenth of the lists holds more than a tenth of what is near";
  EXPECT_LT(tenth, 1.0);
}

TEST(Lists, LookFurtherWhereAListHasTooFew) {
  const auto stored = unit_vectors(300, 16, 1);
  const std::string bytes = lists_of(view(stored, 16));
  const Lists lists = Lists::parse(as_bytes(bytes), 300, 16, "it");
  EXPECT_EQ(lists.search(unit_vectors(1, 16, 2), 200, 1)[0].size(), 200u);
}

TEST(Centroids, OfFewOrEqualVectors) {
  for (const std::size_t count : {0, 1, 2, 3}) {
    const std::vector<float> stored(count * 4, 0.5f);
    const std::string bytes = lists_of(view(stored, 4));
    const Lists lists = Lists::parse(as_bytes(bytes), count, 4, "it");
    EXPECT_EQ(lists.search(unit_vectors(1, 4, 2), 10, lists.count())[0].size(), count);
  }
}

TEST(Calibrate, TakesTheLeastEffortThatIsEnough) {
  const std::vector<std::vector<Neighbour>> truth = {{{0, 1.0f}, {1, 0.9f}}};
  const auto search = [&](std::size_t effort) -> std::vector<std::vector<Neighbour>> {
    if (effort < 8) return {{{0, 1.0f}}};
    return {{{0, 1.0f}, {2, 0.9f}}};  // as near as the one that is meant
  };
  EXPECT_EQ(calibrate(truth, search, 1, 100).effort, 8);
  EXPECT_EQ(calibrate(truth, search, 1, 8).effort, 0);
}

}  // namespace
}  // namespace blip
