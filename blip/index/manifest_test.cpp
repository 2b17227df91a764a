#include "blip/index/manifest.h"

#include <gtest/gtest.h>

#include <fstream>

#include "blip/base/file.h"
#include "blip/index/index_folder_test.h"

namespace blip {
namespace {

IndexManifest example() {
  IndexManifest manifest;
  manifest.settings = settings_for(IndexKind::hnsw, 256);
  manifest.generation = 7;
  manifest.row_files = 2;
  manifest.count = 1000;
  manifest.removed_count = 3;
  manifest.removed = {12, 0xfedcba9876543210};
  manifest.structure = {123456, 0x0000000000000001};
  manifest.effort = 128;
  manifest.recall = 0.996;
  return manifest;
}

std::string text_of(const IndexManifest& manifest) {
  const IndexFolder folder;
  publish_manifest(folder.path(), manifest);
  return read_file(folder.path() / "manifest.json", 1 << 20);
}

TEST(Manifest, ComesBackAsItWasWritten) {
  const IndexFolder folder;
  const IndexManifest wanted = example();
  publish_manifest(folder.path(), wanted);
  const IndexManifest got = read_manifest(folder.path());
  require_same(got.settings, wanted.settings, "it");
  EXPECT_EQ(got.settings.kind, IndexKind::hnsw);
  EXPECT_EQ(got.generation, 7u);
  EXPECT_EQ(got.row_files, 2u);
  EXPECT_EQ(got.count, 1000u);
  EXPECT_EQ(got.live(), 997u);
  EXPECT_EQ(got.removed.checksum, 0xfedcba9876543210u);
  EXPECT_EQ(got.structure.bytes, 123456u);
  EXPECT_EQ(got.structure.checksum, 1u);
  EXPECT_EQ(got.effort, 128);
  EXPECT_EQ(got.recall, 0.996);
}

TEST(Manifest, EveryFieldIsNeededAndOfItsType) {
  const Json whole = Json::parse(text_of(example()));
  for (const auto& [key, value] : whole.items()) {
    for (const Json& wrong : {Json(), Json(-1), Json("x"), Json::array(), Json(1e300)}) {
      Json changed = whole;
      changed[key] = wrong;
      if (key == "preprocessing" || key == "opened_with" || (key == "model" && wrong.is_string()) ||
          (key == "recall" && wrong.is_number())) {
        continue;  // may be anything
      }
      EXPECT_THROW(parse_manifest(changed.dump(), "it"), Error) << key << " " << wrong;
    }
    Json without = whole;
    without.erase(key);
    EXPECT_EQ(code_of([&] { parse_manifest(without.dump(), "it"); }, key), ErrorCode::io);
  }
}

TEST(Manifest, RefusesWhatIsOutOfRange) {
  const Json whole = Json::parse(text_of(example()));
  const std::pair<const char*, std::uint64_t> cases[] = {{"width", 0},
                                                         {"width", kMaxIndexWidth + 1},
                                                         {"count", kMaxIndexRows + 1},
                                                         {"removed_count", 1001},
                                                         {"row_files", 0},
                                                         {"effort", std::uint64_t{1} << 40},
                                                         {"generation", ~std::uint64_t{0}}};
  for (const auto& [key, value] : cases) {
    Json changed = whole;
    changed[key] = value;
    EXPECT_EQ(code_of([&] { parse_manifest(changed.dump(), "it"); }, key), ErrorCode::io);
  }
}

TEST(Manifest, TellsForeignFilesFromLaterOnes) {
  EXPECT_EQ(code_of([] { parse_manifest("{\"name\": \"app\"}", "it"); }, "format"), ErrorCode::io);
  EXPECT_EQ(code_of([] { parse_manifest("[1, 2", "it"); }, "JSON"), ErrorCode::io);
  EXPECT_EQ(code_of([] { parse_manifest("[]", "it"); }, "object"), ErrorCode::io);
  EXPECT_EQ(code_of([] { parse_manifest("{\"format\": \"blip index\", \"version\": 2}", "it"); },
                    "version 2"),
            ErrorCode::unsupported);
  const IndexFolder folder;
  EXPECT_EQ(code_of([&] { read_manifest(folder.path()); }, "no index"), ErrorCode::not_found);
  EXPECT_EQ(code_of([&] { read_manifest(folder.path() / "none"); }), ErrorCode::not_found);
  std::filesystem::create_directory(folder.path() / "manifest.json");
  EXPECT_EQ(code_of([&] { read_manifest(folder.path()); }), ErrorCode::io);
}

TEST(Manifest, SaysWhatDiffers) {
  const IndexSettings index = settings_for(IndexKind::flat, 256);
  const auto refusal = [&](auto change, const char* words) {
    IndexSettings wanted = index;
    change(wanted);
    EXPECT_EQ(code_of([&] { require_same(index, wanted, "it"); }, words), ErrorCode::usage);
  };
  refusal([](IndexSettings& s) { s.model = "fedcba9876543210"; }, "another model");
  refusal([](IndexSettings& s) { s.preprocessing["height"] = 224; }, "another preprocessing");
  refusal([](IndexSettings& s) { s.content = IndexContent::texts; }, "holds images");
  refusal([](IndexSettings& s) { s.width = 512; }, "256 values");
  IndexSettings other_kind = index;
  other_kind.kind = IndexKind::ivf;
  require_same(index, other_kind, "it");
}

}  // namespace
}  // namespace blip
