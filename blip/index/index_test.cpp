// Whole indexes: built, grown, interrupted, damaged.
#include "blip/index/index.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <limits>
#include <optional>
#include <set>

#include "blip/base/file.h"
#include "blip/index/calibrate.h"
#include "blip/index/index_folder_test.h"
#include "blip/index/writer.h"

namespace blip {
namespace {

constexpr std::size_t kWidth = 20;
constexpr IndexKind kKinds[] = {IndexKind::flat, IndexKind::hnsw, IndexKind::ivf};

class OfEveryKind : public testing::TestWithParam<IndexKind> {
 protected:
  IndexSettings settings() const { return settings_for(GetParam(), kWidth); }
  std::filesystem::path path() const { return folder_.path() / "index"; }

  IndexWriter create() const { return IndexWriter::create(path(), settings()); }
  IndexWriter reopen() const { return IndexWriter::open(path(), settings()); }

 private:
  IndexFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(Index, OfEveryKind, testing::ValuesIn(kKinds),
                         [](const auto& kind) { return std::string(name(kind.param)); });

IndexEntry entry(std::size_t row, std::int64_t modified = 0) {
  return {"picture " + std::to_string(row), row, modified};
}

void append(IndexWriter& writer, const std::vector<float>& vectors, std::size_t begin,
            std::size_t end, std::int64_t modified = 0) {
  for (std::size_t row = begin; row < end; ++row) {
    writer.append(entry(row, modified), std::span(vectors).subspan(row * kWidth, kWidth));
  }
}

/// Names found for each query, nearest first.
std::vector<std::vector<std::string>> names_found(const VectorIndex& index,
                                                  const std::vector<float>& queries,
                                                  std::size_t k) {
  std::vector<std::vector<std::string>> names;
  for (const auto& neighbours : index.search(queries, {.k = k})) {
    names.emplace_back();
    for (const Neighbour& n : neighbours) names.back().emplace_back(index.rows().name(n.row));
  }
  return names;
}

std::vector<std::vector<std::string>> names_wanted(const std::vector<float>& vectors,
                                                   const std::vector<float>& queries,
                                                   std::size_t k) {
  std::vector<std::vector<std::string>> names;
  for (std::size_t q = 0; q < queries.size() / kWidth; ++q) {
    names.emplace_back();
    for (const Neighbour& n : naive_search(view(vectors, kWidth), &queries[q * kWidth], k)) {
      names.back().push_back(entry(n.row).name);
    }
  }
  return names;
}

TEST_P(OfEveryKind, GrownEqualsBuiltAtOnceEqualsTheNaiveScan) {
  const auto vectors = unit_vectors(700, kWidth, 1);
  const auto queries = unit_vectors(40, kWidth, 2);
  for (const std::vector<std::size_t>& steps :
       {std::vector<std::size_t>{700}, std::vector<std::size_t>{0, 1, 300, 301, 700}}) {
    const IndexFolder folder;
    const auto path = folder.path() / "index";
    std::optional<IndexWriter> writer(IndexWriter::create(path, settings()));
    std::size_t begin = 0;
    for (const std::size_t end : steps) {
      if (!writer) writer.emplace(IndexWriter::open(path, settings()));
      append(*writer, vectors, begin, end);
      EXPECT_EQ(writer->commit().count, end);
      writer.reset();
      begin = end;
    }
    const VectorIndex index = VectorIndex::open(path);
    index.verify();
    EXPECT_TRUE(names_found(index, queries, 10) == names_wanted(vectors, queries, 10));
    for (const auto& all : names_found(index, queries, 1000)) {
      EXPECT_EQ(std::set(all.begin(), all.end()).size(), 700u);
    }
  }
}

TEST_P(OfEveryKind, LargerOnesFindNearlyAll) {
  const auto vectors = unit_vectors(9000, kWidth, 1);
  const auto queries = unit_vectors(100, kWidth, 2);
  {
    IndexWriter writer = create();
    append(writer, vectors, 0, 8500);
    writer.commit();
  }
  {
    IndexWriter writer = reopen();
    append(writer, vectors, 8500, 9000);
    writer.commit();
  }
  const VectorIndex index = VectorIndex::open(path());
  const auto wanted = names_wanted(vectors, queries, 10);
  const auto found = names_found(index, queries, 10);
  std::size_t hits = 0;
  for (std::size_t q = 0; q < wanted.size(); ++q) {
    for (const std::string& name : wanted[q]) {
      hits += static_cast<std::size_t>(std::count(found[q].begin(), found[q].end(), name));
    }
  }
  EXPECT_GE(hits, 990u);
  EXPECT_GE(index.manifest().recall, 0.99);
}

TEST_P(OfEveryKind, ChangedEntriesReplaceOldOnes) {
  auto vectors = unit_vectors(400, kWidth, 1);
  {
    IndexWriter writer = create();
    append(writer, vectors, 0, 400);
    writer.commit();
  }
  const VectorIndex before = VectorIndex::open(path());
  // A few, then so many that the files are written anew without the old ones.
  std::size_t replaced = 0;
  for (const std::size_t count : {20, 300}) {
    IndexWriter writer = reopen();
    const auto changed = unit_vectors(count, kWidth, count);
    std::copy(changed.begin(), changed.end(), vectors.begin());
    EXPECT_TRUE(writer.has(entry(399)));
    EXPECT_FALSE(writer.has(entry(0, std::int64_t(count))));
    append(writer, vectors, 0, count, std::int64_t(count));
    EXPECT_TRUE(writer.has(entry(0, std::int64_t(count))));
    const IndexManifest manifest = writer.commit();
    EXPECT_EQ(manifest.live(), 400u);
    replaced += manifest.removed_count;
  }
  EXPECT_EQ(replaced, 20u) << "first marked, then left out";
  const VectorIndex index = VectorIndex::open(path());
  index.verify();
  const auto queries = unit_vectors(30, kWidth, 2);
  EXPECT_TRUE(names_found(index, queries, 20) == names_wanted(vectors, queries, 20));
  // A reader that was open all the while still sees what it opened.
  EXPECT_TRUE(names_found(before, queries, 20) ==
              names_wanted(unit_vectors(400, kWidth, 1), queries, 20));
}

TEST_P(OfEveryKind, AKilledBuildGoesOnWhereItWas) {
  const auto vectors = unit_vectors(300, kWidth, 1);
  const pid_t child = fork();
  if (child == 0) {
    IndexWriter writer = create();
    append(writer, vectors, 0, 100);
    writer.flush();
    append(writer, vectors, 100, 150);
    _exit(0);  // without destructors, so that what is buffered is lost
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  EXPECT_EQ(code_of([&] { VectorIndex::open(path()); }, "unfinished"), ErrorCode::io);
  EXPECT_EQ(code_of(
                [&] {
                  IndexSettings other = settings();
                  other.model = "another";
                  IndexWriter::create(path(), other);
                },
                "another model"),
            ErrorCode::usage);
  // What was being written when it died.
  std::ofstream(path() / "vectors.1", std::ios::app) << "half a vector";
  std::ofstream(path() / "names.1", std::ios::app) << "picture 100";
  std::ofstream(path() / "graph.1.tmp77-0") << "half a graph";

  IndexWriter writer = create();
  EXPECT_EQ(writer.recovered(), 100u);
  EXPECT_TRUE(writer.has(entry(99)));
  EXPECT_FALSE(writer.has(entry(100)));
  append(writer, vectors, 100, 300);
  writer.commit();
  EXPECT_FALSE(std::filesystem::exists(path() / "graph.1.tmp77-0"));
  const VectorIndex index = VectorIndex::open(path());
  index.verify();
  const auto queries = unit_vectors(20, kWidth, 2);
  EXPECT_TRUE(names_found(index, queries, 10) == names_wanted(vectors, queries, 10));
}

TEST_P(OfEveryKind, AStoppedCommitLeavesTheOldIndexAndKeepsTheRows) {
  const auto vectors = unit_vectors(200, kWidth, 1);
  {
    IndexWriter writer = create();
    append(writer, vectors, 0, 120);
    writer.commit();
  }
  if (GetParam() != IndexKind::flat) {
    const std::atomic<bool> stop = true;
    IndexWriter writer = reopen();
    append(writer, vectors, 120, 200);
    EXPECT_EQ(code_of([&] { writer.commit({.stop = &stop}); }), ErrorCode::cancelled);
  } else {
    IndexWriter writer = reopen();
    append(writer, vectors, 120, 200);  // and never commit
  }
  EXPECT_EQ(VectorIndex::open(path()).manifest().count, 120u);
  IndexWriter writer = reopen();
  EXPECT_EQ(writer.recovered(), 80u);
  EXPECT_EQ(writer.commit().count, 200u);
}

TEST_P(OfEveryKind, OneWriterAtATime) {
  IndexWriter writer = create();
  EXPECT_EQ(code_of([&] { create(); }, "another process"), ErrorCode::io);
  EXPECT_EQ(code_of([&] { reopen(); }, "another process"), ErrorCode::io);
}

TEST_P(OfEveryKind, RefusesFoldersThatAreNotForIt) {
  EXPECT_EQ(code_of([&] { reopen(); }, "no index"), ErrorCode::not_found);
  EXPECT_FALSE(std::filesystem::exists(path())) << "looking made a folder";
  EXPECT_EQ(code_of([&] { VectorIndex::open(path()); }, "no index"), ErrorCode::not_found);
  std::filesystem::create_directory(path());
  std::ofstream(path() / "holiday.png") << "dear";
  EXPECT_EQ(code_of([&] { create(); }, "not empty"), ErrorCode::usage);
  std::filesystem::remove_all(path());
  create().commit();
  EXPECT_EQ(code_of([&] { create(); }, "already holds an index"), ErrorCode::usage);
  IndexSettings other = settings();
  other.preprocessing = {{"height", 224}};
  EXPECT_EQ(code_of([&] { IndexWriter::open(path(), other); }, "another preprocessing"),
            ErrorCode::usage);
}

TEST_P(OfEveryKind, QueriesOfAnotherWidthAreRefused) {
  IndexWriter writer = create();
  append(writer, unit_vectors(5, kWidth, 1), 0, 5);
  writer.commit();
  const VectorIndex index = VectorIndex::open(path());
  EXPECT_EQ(code_of([&] { index.search(unit_vectors(1, 7, 1), {}); }), ErrorCode::usage);
  EXPECT_TRUE(index.search({}, {}).empty());
  EXPECT_TRUE(index.search(unit_vectors(1, kWidth, 1), {.k = 0})[0].empty());
}

TEST_P(OfEveryKind, ValuesThatAreNoNumbersAreRefused) {
  IndexWriter writer = create();
  append(writer, unit_vectors(5, kWidth, 1), 0, 5);
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    auto vector = unit_vectors(1, kWidth, 7);
    vector[3] = bad;
    EXPECT_EQ(code_of([&] { writer.append(entry(9), vector); }, "value 3 is"), ErrorCode::usage);
  }
  EXPECT_EQ(writer.commit().count, 5u) << "what was refused left nothing behind";
  auto queries = unit_vectors(2, kWidth, 7);
  queries[kWidth + 1] = std::nanf("");
  EXPECT_EQ(code_of([&] { VectorIndex::open(path()).search(queries, {}); }, "value 21 is"),
            ErrorCode::usage);
}

/// As earlier programs left them.
TEST(Index, WithoutCodesIsWalkedAsWithThem) {
  const IndexFolder folder;
  const auto path = folder.path() / "index";
  const auto vectors = unit_vectors(3000, kWidth, 1);
  {
    IndexWriter writer = IndexWriter::create(path, settings_for(IndexKind::hnsw, kWidth));
    append(writer, vectors, 0, 3000);
    writer.commit();
  }
  const auto queries = unit_vectors(20, kWidth, 2);
  IndexManifest manifest = read_manifest(path);
  ASSERT_TRUE(manifest.codes);
  manifest.sketches.reset();
  manifest.effort = 256;
  publish_manifest(path, manifest);
  const auto wanted = names_found(VectorIndex::open(path), queries, 10);
  manifest.codes.reset();
  publish_manifest(path, manifest);
  std::filesystem::remove(path / "codes.1");
  const VectorIndex index = VectorIndex::open(path);
  index.verify();
  EXPECT_TRUE(names_found(index, queries, 10) == wanted);
}

/// Where all directions are equally likely the signs are looked at, also after the index has grown.
TEST(Index, OfRandomVectorsIsSearchedBySketches) {
  constexpr std::size_t kWide = 256;
  const IndexFolder folder;
  const auto path = folder.path() / "index";
  const auto vectors = unit_vectors(12'000, kWide, 1);
  const auto settings = settings_for(IndexKind::hnsw, kWide);
  const auto add = [&](IndexWriter writer, std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      writer.append(entry(row), std::span(vectors).subspan(row * kWide, kWide));
    }
    return writer.commit();
  };
  ASSERT_TRUE(add(IndexWriter::create(path, settings), 0, 11'500).sketches);
  const IndexManifest grown = add(IndexWriter::open(path, settings), 11'500, 12'000);
  ASSERT_TRUE(grown.sketches);
  EXPECT_GE(grown.recall, 0.995);
  EXPECT_LT(grown.effort, 12'000 / 2);
  const VectorIndex index = VectorIndex::open(path);
  index.verify();
  const auto queries = unit_vectors(50, kWide, 2);
  const auto found = index.search(queries, {.k = 10});
  std::vector<Nearest> nearest(50, Nearest(10));
  scan(view(vectors, kWide), {}, {}, queries.data(), nearest);
  std::vector<std::vector<Neighbour>> truth;
  for (Nearest& of_query : nearest) truth.push_back(of_query.take());
  EXPECT_GE(recall(truth, found), 0.98);
  EXPECT_EQ(index.search(queries, {.k = 12'000})[0].size(), 12'000u) << "all when all are wanted";
  std::filesystem::resize_file(path / "sketches.2", 1000);
  EXPECT_EQ(code_of([&] { VectorIndex::open(path); }, "sketches.2"), ErrorCode::io);
}

/// Each file cut, emptied, lengthened, or with a byte changed: an Error, or an index that can be
/// searched without harm; verify() notices every change of what belongs to the index.
TEST_P(OfEveryKind, DamagedFilesAreNoticed) {
  {
    IndexWriter writer = create();
    append(writer, unit_vectors(60, kWidth, 1), 0, 60);
    writer.commit();
  }
  {
    IndexWriter writer = reopen();
    append(writer, unit_vectors(60, kWidth, 9), 0, 3, 1);
    writer.commit();
  }
  const auto queries = unit_vectors(3, kWidth, 2);
  const auto use = [&] {
    const VectorIndex index = VectorIndex::open(path());
    names_found(index, queries, 10);
    index.verify();
  };
  use();
  for (const auto& file : std::filesystem::directory_iterator(path())) {
    if (file.path().filename() == "lock" || file.path().filename() == "manifest.json") continue;
    const std::string whole = read_file(file, 1 << 24);
    const auto put = [&](const std::string& bytes) {
      std::ofstream(file.path(), std::ios::binary) << bytes;
    };
    for (const std::size_t cut : {std::size_t{0}, whole.size() / 2, whole.size() - 1}) {
      put(whole.substr(0, cut));
      EXPECT_EQ(code_of(use), ErrorCode::io) << file << " cut at " << cut;
    }
    for (std::size_t i = 0; i < 60; ++i) {
      std::string damaged = whole;
      damaged[i * whole.size() / 60] ^= 0x24;
      put(damaged);
      EXPECT_EQ(code_of(use), ErrorCode::io) << file << " byte " << i * whole.size() / 60;
    }
    std::filesystem::remove(file);
    EXPECT_EQ(code_of(use), ErrorCode::not_found);
    put(whole);
  }
  use();
}

}  // namespace
}  // namespace blip
