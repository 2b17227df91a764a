#include <algorithm>
#include <cstdio>
#include <set>

#include "blip/base/error.h"
#include "train/data/source.h"
#include "train/data/test_folder_test.h"

namespace blip::train {
namespace {

class ShardSourceTest : public TestFolder {
 protected:
  /// `count` shards of `samples` samples each, made by the system's tar.
  void write_shards(int count, int samples) {
    for (int s = 0; s < count; ++s) {
      const std::string name = std::to_string(s);
      const std::filesystem::path content = folder_ / ("content" + name);
      std::filesystem::create_directories(content);
      for (int i = 0; i < samples; ++i) {
        const std::string key = name + "-" + std::to_string(i);
        save_png(picture(i), content / (key + ".png"));
        std::ofstream(content / (key + ".txt")) << "caption " << key;
      }
      const std::string command = "tar --sort=name -cf '" + (folder_ / (name + ".tar")).string() +
                                  "' -C '" + content.string() + "' .";
      ASSERT_EQ(std::system(command.c_str()), 0);
    }
    data_.train = {(folder_ / "{0..").string() + std::to_string(count - 1) + "}.tar"};
  }

  std::shared_ptr<const Source> source(const Share& share = {}) {
    return make_source(data_, DataKind::captions, share, 5, bad_);
  }

  static std::vector<std::string> take(Stream& stream, int count) {
    std::vector<std::string> texts;
    for (int i = 0; i < count; ++i) {
      const Item item = stream.next();
      texts.push_back(item.record ? item.record->text : "bad");
      if (item.record) {
        EXPECT_FALSE(item.record->encoded.at(0).empty());
      }
    }
    return texts;
  }

  DataOptions data_;
  BadRecords bad_{1, [](const std::string&) {}};
};

TEST_F(ShardSourceTest, OfSeveralLinesOneIsDrawnEachTime) {
  write_shards(1, 1);
  std::ofstream(folder_ / "content0" / "0-0.txt") << "a cat\n\na dog\r\n";
  const std::string tar = "tar --sort=name -cf '" + (folder_ / "0.tar").string() + "' -C '" +
                          (folder_ / "content0").string() + "' .";
  ASSERT_EQ(std::system(tar.c_str()), 0);
  const auto texts = take(*source()->open(0, 0), 32);
  EXPECT_EQ(std::set<std::string>(texts.begin(), texts.end()),
            (std::set<std::string>{"a cat", "a dog"}));
  EXPECT_EQ(take(*source()->open(0, 0), 32), texts);
}

TEST_F(ShardSourceTest, EveryEpochHasEverySampleInAnotherOrder) {
  write_shards(4, 5);
  data_.shuffle_buffer = 6;
  const auto shards = source();
  EXPECT_EQ(shards->size(), 20);
  const auto first = take(*shards->open(0, 0), 20), second = take(*shards->open(1, 0), 20);
  EXPECT_EQ(take(*shards->open(0, 0), 20), first);
  EXPECT_NE(first, second);
  // The buffer may hold samples of the next pass before the last of this one are drawn.
  EXPECT_GE(std::set(first.begin(), first.end()).size(), 14U);
  EXPECT_FALSE(std::is_sorted(first.begin(), first.end()));
}

TEST_F(ShardSourceTest, OpensInTheMiddle) {
  write_shards(3, 4);
  data_.shuffle_buffer = 5;
  const auto whole = take(*source()->open(2, 0), 40);
  for (const int taken : {1, 5, 11, 12, 13, 30}) {
    EXPECT_EQ(take(*source()->open(2, taken), 40 - taken),
              std::vector<std::string>(whole.begin() + taken, whole.end()))
        << taken;
  }
}

TEST_F(ShardSourceTest, ProcessesShareThem) {
  write_shards(4, 3);
  data_.shuffle_buffer = 1;
  std::set<std::string> seen;
  for (std::int64_t rank = 0; rank < 2; ++rank) {
    for (const auto& text : take(*source({rank, 2, 1, 1})->open(0, 0), 6)) seen.insert(text);
  }
  EXPECT_EQ(seen.size(), 12U);
  EXPECT_THROW(source({0, 5, 1, 1}), Error);
}

TEST_F(ShardSourceTest, ASampleWithAFileThatIsTooLargeIsPassedOver) {
  write_shards(1, 4);
  data_.train = {(folder_ / "0.tar").string()};
  const std::string command = "cd '" + (folder_ / "content0").string() +
                              "' && truncate -s 300M 0-1.npy && tar --sparse --sort=name -cf '" +
                              data_.train[0] + "' .";
  ASSERT_EQ(std::system(command.c_str()), 0);
  data_.shuffle_buffer = 1;
  const auto seen = take(*source()->open(0, 0), 4);
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()),
            (std::set<std::string>{"caption 0-0", "bad", "caption 0-2", "caption 0-3"}));
}

TEST_F(ShardSourceTest, DamagedShardsAndSamples) {
  write_shards(3, 4);
  data_.shuffle_buffer = 2;
  std::filesystem::resize_file(folder_ / "1.tar", 2500);
  write("2.tar", "this is no tar");
  const auto whole = take(*source()->open(0, 0), 24);
  EXPECT_GE(std::count(whole.begin(), whole.end(), "bad"), 6);
  EXPECT_EQ(take(*source()->open(0, 9), 15),
            std::vector<std::string>(whole.begin() + 9, whole.end()));
  for (const char* name : {"0.tar", "1.tar"}) write(name, "nor this");
  data_.samples_per_epoch = 5;
  const auto stream = source()->open(0, 0);
  EXPECT_THROW(take(*stream, 30), Error);
  data_.train.push_back("captions.json");
  EXPECT_THROW(source(), Error);
}

}  // namespace
}  // namespace blip::train
