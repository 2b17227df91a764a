#include "blip/dataset/tar_samples.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "blip/base/error.h"

namespace blip {
namespace {

namespace fs = std::filesystem;

/// A header of the old ustar form, with nothing but name, size and checksum.
std::string header_of(const std::string& name, std::size_t bytes) {
  std::string header(512, '\0');
  header.replace(0, name.size(), name);
  header.replace(100, 7, "0000644");
  char size[13];
  std::snprintf(size, sizeof size, "%011zo", bytes);
  header.replace(124, 11, size);
  header.replace(136, 11, "00000000000");
  header[156] = '0';
  header.replace(257, 8, std::string("ustar\00000", 8));
  header.replace(148, 8, 8, ' ');
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  char check[8];
  std::snprintf(check, sizeof check, "%06o", sum);
  header.replace(148, 7, std::string(check, 7));
  return header;
}

std::string tar_of(const std::vector<std::pair<std::string, std::string>>& files) {
  std::string out;
  for (const auto& [name, content] : files) {
    out += header_of(name, content.size()) + content +
           std::string((512 - content.size() % 512) % 512, '\0');
  }
  return out + std::string(1024, '\0');
}

class TarSamples : public testing::Test {
 protected:
  fs::path write(const std::string& content) const {
    const fs::path file = fs::temp_directory_path() / ("blip_tar_" + std::to_string(getpid()));
    std::ofstream(file, std::ios::binary) << content;
    return file;
  }
  void TearDown() override {
    fs::remove(fs::temp_directory_path() / ("blip_tar_" + std::to_string(getpid())));
  }
};

TEST_F(TarSamples, FilesOfOneNameBelongTogether) {
  const std::string picture(100'000, 'p');
  TarReader reader(write(tar_of({{"d.x/0.jpg", picture},
                                 {"d.x/0.txt", "zero"},
                                 {"d.x/1.seg.png", ""},
                                 {"d.x/1.txt", "one"},
                                 {"lone", "?"}})));
  TarSample sample;
  ASSERT_TRUE(reader.next(sample));
  EXPECT_EQ(sample.key, "d.x/0");
  EXPECT_EQ(sample.files.at("jpg"), picture);
  EXPECT_EQ(sample.files.at("txt"), "zero");
  ASSERT_TRUE(reader.next(sample));
  EXPECT_EQ(sample.files.size(), 2U);
  EXPECT_EQ(sample.files.at("seg.png"), "");
  ASSERT_TRUE(reader.pass_over());
  EXPECT_FALSE(reader.next(sample));
  EXPECT_FALSE(reader.pass_over());
}

TEST_F(TarSamples, AFileThatIsTooLargeIsPassedOver) {
  constexpr std::size_t kLarge = (std::size_t{256} << 20) + 512;
  const std::string rest = tar_of({{"1.txt", "one"}, {"2.txt", "two"}});
  const fs::path file = write(header_of("1.jpg", kLarge));
  fs::resize_file(file, 512 + kLarge);  // a hole
  std::ofstream(file, std::ios::binary | std::ios::app) << rest;
  TarReader reader(file);
  TarSample sample;
  ASSERT_TRUE(reader.next(sample));
  ASSERT_TRUE(sample.error);
  EXPECT_EQ(sample.error->code(), ErrorCode::too_large);
  EXPECT_EQ(sample.files.at("jpg").capacity(), std::string().capacity());
  EXPECT_EQ(sample.files.at("txt"), "one");
  ASSERT_TRUE(reader.next(sample));
  EXPECT_FALSE(sample.error);
  EXPECT_EQ(sample.files.at("txt"), "two");
  EXPECT_FALSE(reader.next(sample));
  fs::resize_file(file, 512 + (kLarge / 2));
  TarReader cut(file);
  try {
    ASSERT_TRUE(cut.next(sample));
    EXPECT_TRUE(sample.error);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::io);
  }
  EXPECT_FALSE(cut.next(sample));
}

TEST_F(TarSamples, DamagedOnes) {
  const std::string whole = tar_of({{"0.jpg", std::string(3000, 'x')}, {"1.jpg", "y"}});
  EXPECT_THROW(TarReader(write(std::string(2000, 'a'))), Error);
  EXPECT_THROW(TarReader(fs::path("/nonexistent/a.tar")), Error);
  TarReader cut(write(whole.substr(0, 1500)));
  TarSample sample;
  EXPECT_THROW(cut.next(sample), Error);
  EXPECT_FALSE(cut.next(sample));
  TarReader twice(write(tar_of({{"0.jpg", "x"}, {"0.jpg", "y"}})));
  EXPECT_THROW(twice.next(sample), Error);
  std::string wrong = whole;
  wrong[512 + 3072 + 3] = '?';  // the second header's name: its checksum is wrong
  TarReader damaged(write(wrong));
  EXPECT_THROW(
      {
        while (damaged.next(sample)) {
        }
      },
      Error);
}

TEST(Braces, StandForFiles) {
  EXPECT_EQ(expand_braces("a.tar"), std::vector<std::string>{"a.tar"});
  EXPECT_EQ(expand_braces("s/{08..10}.tar"),
            (std::vector<std::string>{"s/08.tar", "s/09.tar", "s/10.tar"}));
  EXPECT_EQ(expand_braces("{0..1}/{0..1}").size(), 4U);
  EXPECT_EQ(expand_braces("a{b}c"), std::vector<std::string>{"a{b}c"});
  EXPECT_THROW(expand_braces("{a..b}"), Error);
  EXPECT_THROW(expand_braces("{2..1}"), Error);
  EXPECT_THROW(expand_braces("{0..999999999}"), Error);
  EXPECT_THROW(expand_braces("{0..9999}{0..9999}"), Error);
}

}  // namespace
}  // namespace blip
