#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "blip/base/file.h"
#include "blip/dataset/pair_source.h"
#include "blip/dataset/pair_writer.h"
#include "blip/dataset/tar_writer.h"

namespace blip {
namespace {

namespace fs = std::filesystem;

class Pairs : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("blip_pairs_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& content) const {
    const fs::path file = folder_ / name;
    fs::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << content;
    return file.string();
  }

  std::string tar(const std::string& name,
                  const std::vector<std::pair<std::string, std::string>>& files) const {
    TarWriter writer(folder_ / name);
    for (const auto& [file, content] : files) writer.add(file, content);
    writer.finish();
    return (folder_ / name).string();
  }

  static std::vector<PairRecord> all(const PairSource& source) {
    std::vector<PairRecord> records;
    for (std::size_t part = 0; part < source.parts(); ++part) {
      PairRecord record;
      for (const PairReader next = source.read(part); next(record);) records.push_back(record);
    }
    return records;
  }

  fs::path folder_;
};

using Texts = std::vector<std::string>;

TEST_F(Pairs, AFolderHasItsSidecars) {
  write("in/b.png", "B");
  write("in/sub/a.jpg", "A");
  write("in/sub/a.txt", " one \r\n\ntwo\n");
  write("in/sub/a.png", "second");
  const auto records = all(PairSource::open((folder_ / "in").string(), {"", 2, false}));
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].key, "b.png");
  EXPECT_TRUE(records[0].texts.empty());
  EXPECT_EQ(records[1].key, "sub/a.jpg");
  EXPECT_EQ(records[1].texts, (Texts{"one", "two"}));
  EXPECT_EQ(records[1].picture_bytes(), "A");
  EXPECT_FALSE(records[1].shares_sidecar);
  EXPECT_TRUE(records[2].shares_sidecar);
}

TEST_F(Pairs, LinesAreRecordsAndBadOnesHaveTheirError) {
  const std::string file =
      write("in.jsonl",
            "{\"image\": \"a.jpg\", \"caption\": \"x\"}\n\nnonsense\n"
            "{\"file_name\": \"b.jpg\", \"text\": [\"y\", \"z\"], \"human\": true}\n"
            "{\"image\": \"c.jpg\"}\n{\"image\": 3}");
  for (const std::size_t size : {1u, 2u, 1000u}) {
    const PairSource source = PairSource::open(file, {"", size, false});
    EXPECT_EQ(source.records(), 5u);
    EXPECT_EQ(source.parts(), (5 + size - 1) / size);
    const auto records = all(source);
    ASSERT_EQ(records.size(), 5u);
    EXPECT_EQ(records[0].file, folder_ / "a.jpg");
    EXPECT_EQ(records[1].key, "line 3");
    EXPECT_EQ(records[1].error->code(), ErrorCode::io);
    EXPECT_EQ(records[2].texts, (Texts{"y", "z"}));
    EXPECT_TRUE(records[2].human);
    EXPECT_TRUE(records[3].texts.empty());
    EXPECT_FALSE(records[3].error);
    EXPECT_TRUE(records[4].error);
  }
}

TEST_F(Pairs, RowsOfAFolderAreRecordsAndBadOnesHaveTheirError) {
  write("in/metadata.jsonl",
        "{\"file_name\": \"a.jpg\", \"text\": \"x\"}\n\nnonsense\n"
        "{\"file_name\": \"b.jpg\", \"text\": [\"y\"]}\n{\"file_name\": 3}\n"
        "{\"file_name\": \"a.jpg\", \"text\": \"again\"}\n{\"file_name\": \"b.png\"}");
  for (const std::size_t size : {1u, 2u, 1000u}) {
    const PairSource source = PairSource::open((folder_ / "in").string(), {"", size, false});
    EXPECT_EQ(source.kind(), PairKind::folder);
    const auto records = all(source);
    ASSERT_EQ(records.size(), 5u);
    EXPECT_EQ(records[0].texts, (Texts{"x", "again"}));
    EXPECT_EQ(records[0].file, folder_ / "in/a.jpg");
    EXPECT_EQ(records[1].key, "line 3");
    EXPECT_EQ(records[1].error->code(), ErrorCode::io);
    EXPECT_EQ(records[2].key, "b.jpg");
    EXPECT_EQ(records[3].key, "line 5");
    EXPECT_TRUE(records[4].shares_sidecar && !records[4].error);
  }
}

TEST_F(Pairs, CocoKeepsItsIds) {
  const std::string file = write(
      "coco.json",
      R"({"images": [{"id": 7, "file_name": "p.jpg"}], "annotations": [{"image_id": 7, "caption": "c"}]})");
  const auto records = all(PairSource::open(file, {"pictures", 1000, true}));
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].id, 7);
  EXPECT_EQ(records[0].file, "pictures/p.jpg");
  EXPECT_TRUE(records[0].human);
}

TEST_F(Pairs, SamplesOfATar) {
  const std::string file = tar("0.tar", {{"a.JPG", "A"},
                                         {"a.txt", "one\ntwo"},
                                         {"b.png", "B"},
                                         {"b.json", R"({"caption": "c", "human": true})"},
                                         {"b.png", "again"},
                                         {"c.txt", "no picture"},
                                         {"d.png", "D"},
                                         {"d.txt", "bad \xff byte"}});
  const auto records = all(PairSource::open(file));
  ASSERT_EQ(records.size(), 5u);
  EXPECT_EQ(records[0].picture_bytes(), "A");
  EXPECT_EQ(records[0].texts, (Texts{"one", "two"}));
  EXPECT_TRUE(records[1].human);
  EXPECT_EQ(records[2].key, "b");
  EXPECT_EQ(records[3].error->code(), ErrorCode::not_found);
  EXPECT_EQ(records[4].texts, (Texts{"bad \uFFFD byte"}));
}

TEST_F(Pairs, ATruncatedTarEndsWithAnError) {
  const std::string file =
      tar("0.tar", {{"a.png", std::string(3000, 'a')}, {"b.png", std::string(3000, 'b')}});
  fs::resize_file(file, 6000);
  const auto records = all(PairSource::open(file));
  ASSERT_EQ(records.size(), 2u);
  EXPECT_FALSE(records[0].error);
  EXPECT_TRUE(records[1].error && records[1].source_ends_here);
  EXPECT_EQ(records[1].key, "b");
}

TEST_F(Pairs, ShardsAreNamedByTheirFiles) {
  tar("00000.tar", {{"a.png", "A"}});
  tar("00001.tar", {{"a.png", "A"}});
  const PairSource source = PairSource::open((folder_ / "{00000..00002}.tar").string());
  ASSERT_EQ(source.parts(), 3u);
  EXPECT_EQ(source.part_name(1), "00001");
  EXPECT_THROW(source.read(2), Error);
  EXPECT_EQ(PairSource::open(folder_.string()).parts(), 2u);
}

TEST_F(Pairs, TarsAreWrittenWithTheirTexts) {
  const std::string in = tar("0.tar", {{"x/a.png", "A"}, {"x/a.cls", "3"}, {"x/a.txt", "old"}});
  const std::string out = (folder_ / "out.tar").string();
  const auto write = [&] {
    const auto writer = make_tar_writer(out, "0");
    for (const PairRecord& record : all(PairSource::open(in)))
      writer->add(record, Texts{"new\nline", "other"}, "{}");
    writer->finish();
    return read_file(out, 1 << 20);
  };
  const std::string bytes = write();
  EXPECT_EQ(write(), bytes);
  const auto records = all(PairSource::open(out));
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].key, "x/a");
  EXPECT_EQ(records[0].texts, (Texts{"new line", "other"}));
  EXPECT_EQ(records[0].sample.files.at("cls"), "3");
}

TEST_F(Pairs, FoldersAreWrittenBelowTheirRoot) {
  write("in/sub/a.jpg", "A");
  const auto records = all(PairSource::open((folder_ / "in").string()));
  const auto writer = make_folder_writer(folder_ / "out", folder_ / "temporary");
  writer->add(records.front(), Texts{"one", "two"}, "{}");
  EXPECT_EQ(read_file(folder_ / "out/sub/a.jpg", 10), "A");
  EXPECT_EQ(read_file(folder_ / "out/sub/a.txt", 10), "one\ntwo\n");
  writer->remove(records.front());
  EXPECT_TRUE(fs::is_empty(folder_ / "out/sub"));
  EXPECT_EQ(unsafe_below("a/..b/c.jpg"), "");
  for (const char* name : {"../a.jpg", "a/../../b.jpg", "/a.jpg", ""})
    EXPECT_NE(unsafe_below(name), "") << name;
}

}  // namespace
}  // namespace blip
