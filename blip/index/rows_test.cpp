#include "blip/index/rows.h"

#include <gtest/gtest.h>

#include <cstring>

#include "blip/base/file.h"
#include "blip/index/index_folder_test.h"

namespace blip {
namespace {

constexpr std::size_t kWidth = 6;

IndexEntry entry(std::size_t row) {
  return {"picture " + std::string(row, 'x') + ".png", 100 + row, -5 + std::int64_t(row)};
}

/// Rows 0 to `count` - 1 in files number 1.
void write_rows(const std::filesystem::path& folder, const std::vector<float>& vectors,
                std::size_t keep = 0) {
  RowWriter writer(folder, 1, kWidth, keep);
  for (std::size_t row = keep; row < vectors.size() / kWidth; ++row) {
    writer.append(entry(row), std::span(vectors).subspan(row * kWidth, kWidth));
  }
  writer.sync();
}

struct Bytes {
  std::string vectors, entries, names;

  explicit Bytes(const std::filesystem::path& folder)
      : vectors(read_file(folder / "vectors.1", 1 << 20)),
        entries(read_file(folder / "entries.1", 1 << 20)),
        names(read_file(folder / "names.1", 1 << 20)) {}
  Rows rows() const {
    const auto bytes = [](const std::string& s) { return std::as_bytes(std::span(s)); };
    return Rows(bytes(vectors), bytes(entries), bytes(names), kWidth);
  }
};

TEST(Rows, ComeBackAsTheyWereAppended) {
  const IndexFolder folder;
  const std::vector<float> vectors = unit_vectors(20, kWidth, 1);
  write_rows(folder.path(), {vectors.begin(), vectors.begin() + 8 * kWidth});
  write_rows(folder.path(), vectors, 8);
  const Rows rows(folder.path(), 1, kWidth, 20);
  ASSERT_EQ(rows.count(), 20u);
  for (std::size_t row = 0; row < 20; ++row) {
    const IndexEntry got = rows.entry(row);
    EXPECT_EQ(got.name, entry(row).name);
    EXPECT_EQ(rows.name(row), got.name);
    EXPECT_EQ(got.size, entry(row).size);
    EXPECT_EQ(got.modified, entry(row).modified);
    EXPECT_EQ(std::memcmp(rows.vectors()[row], &vectors[row * kWidth], kWidth * 4), 0);
    rows.verify(row);
  }
  EXPECT_EQ(rows.whole_from(0), 20u);
  EXPECT_EQ(code_of([&] { rows.name(20); }), ErrorCode::io);
}

TEST(Rows, NamesAreAnyBytes) {
  const IndexFolder folder;
  const std::vector<float> vector = unit_vectors(1, kWidth, 1);
  const std::string names[] = {"", std::string("\0\xff\n", 3), std::string(100000, 'n')};
  RowWriter writer(folder.path(), 1, kWidth, 0);
  for (const std::string& name : names) writer.append({name}, vector);
  writer.flush();
  const Rows rows = Rows::all_of(folder.path(), 1, kWidth);
  ASSERT_EQ(rows.count(), 3u);
  for (std::size_t row = 0; row < 3; ++row) EXPECT_EQ(rows.name(row), names[row]);
}

TEST(Rows, RefusesVectorsThatAreNotOfLengthOne) {
  const IndexFolder folder;
  RowWriter writer(folder.path(), 1, kWidth, 0);
  std::vector<float> vector = unit_vectors(1, kWidth, 1);
  const auto append = [&] { writer.append({"x"}, vector); };
  vector[0] += 0.5f;
  EXPECT_EQ(code_of(append, "length 1"), ErrorCode::usage);
  vector[0] = std::nanf("");
  EXPECT_EQ(code_of(append), ErrorCode::usage);
  vector = {1};
  EXPECT_EQ(code_of(append), ErrorCode::usage);
  EXPECT_EQ(writer.count(), 0u);
}

/// Whatever was lost of the ends of the files, the rows before are found, and no others.
TEST(Rows, ATornEndIsCutOff) {
  const IndexFolder folder;
  write_rows(folder.path(), unit_vectors(5, kWidth, 1));
  const Bytes whole(folder.path());
  const std::size_t row_bytes = kWidth * 4;
  for (std::size_t cut = 0; cut <= whole.vectors.size(); ++cut) {
    Bytes torn = whole;
    torn.vectors.resize(cut);
    EXPECT_EQ(torn.rows().whole_from(0), cut / row_bytes);
  }
  for (std::size_t cut = 0; cut <= whole.entries.size(); ++cut) {
    Bytes torn = whole;
    torn.entries.resize(cut);
    EXPECT_EQ(torn.rows().whole_from(0), cut / 48);
  }
  for (std::size_t cut = 0; cut <= whole.names.size(); ++cut) {
    Bytes torn = whole;
    torn.names.resize(cut);
    std::size_t end = 0, rows = 0;
    while (rows < 5 && end + entry(rows).name.size() <= cut) end += entry(rows++).name.size();
    EXPECT_EQ(torn.rows().whole_from(0), rows);
  }
}

TEST(Rows, EveryDamagedByteIsNoticed) {
  const IndexFolder folder;
  write_rows(folder.path(), unit_vectors(3, kWidth, 1));
  const Bytes whole(folder.path());
  for (std::string Bytes::*file : {&Bytes::vectors, &Bytes::entries, &Bytes::names}) {
    for (std::size_t i = 0; i < (whole.*file).size(); ++i) {
      Bytes damaged = whole;
      (damaged.*file)[i] ^= 0x10;
      EXPECT_LT(damaged.rows().whole_from(0), 3u) << "byte " << i;
    }
  }
}

TEST(Rows, SaysWhichFileIsMissingOrCutShort) {
  const IndexFolder folder;
  write_rows(folder.path(), unit_vectors(3, kWidth, 1));
  EXPECT_EQ(code_of([&] { Rows(folder.path(), 1, kWidth, 4); }, "vectors.1 is cut short"),
            ErrorCode::io);
  EXPECT_EQ(code_of([&] { RowWriter(folder.path(), 1, kWidth, 4); }, "cut short"), ErrorCode::io);
  std::filesystem::remove(folder.path() / "entries.1");
  EXPECT_EQ(code_of([&] { Rows(folder.path(), 1, kWidth, 3); }, "entries.1"), ErrorCode::not_found);
}

}  // namespace
}  // namespace blip
