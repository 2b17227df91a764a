#include "train/data/loader.h"

#include <algorithm>
#include <set>

#include "blip/base/error.h"
#include "train/data/test_folder_test.h"

namespace blip::train {
namespace {

using Keys = std::vector<std::string>;

class LoaderTest : public TestFolder {
 protected:
  LoaderTest() {
    data_.train = {""};
    processor_.height = processor_.width = 8;
    options_.batch_size = 4;
    options_.threads = 3;
  }

  std::shared_ptr<const Source> source(const Share& share = {0, 1, 4, 1}) {
    data_.train[0] = folder_.string();
    return make_source(data_, DataKind::captions, share, 7, bad_);
  }

  /// Keys of `count` batches, then where they end.
  std::pair<std::vector<Keys>, DataPosition> run(std::shared_ptr<const Source> source, int count,
                                                 const DataPosition& from = {}) {
    options_.batches_per_epoch = source->size() / 4;
    const Collator collator(tokenizer_, data_, DataKind::captions, processor_);
    Loader loader(std::move(source), collator, options_, bad_, from);
    std::vector<Keys> keys;
    for (int i = 0; i < count; ++i) {
      const Batch batch = loader.next();
      keys.push_back(batch.keys);
      pixels_.push_back(batch.pixel_values);
    }
    return {keys, loader.position()};
  }

  Tokenizer tokenizer_ = Tokenizer::bert_base_uncased();
  DataOptions data_;
  ImageProcessorConfig processor_;
  Loader::Options options_;
  std::vector<std::string> told_;
  BadRecords bad_{0.01, [this](const std::string& line) { told_.push_back(line); }};
  std::vector<torch::Tensor> pixels_;
};

TEST_F(LoaderTest, SameBatchesWhateverTheThreads) {
  write_pictures(18);
  const auto first = run(source(), 10).first;
  const std::vector<torch::Tensor> pixels = std::move(pixels_);
  pixels_.clear();
  options_.threads = 1;
  options_.prefetch = 1;
  EXPECT_EQ(run(source(), 10).first, first);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_TRUE(torch::equal(pixels[i], pixels_[i])) << i;
  // Four batches of 18 records make an epoch, in which none comes twice; the next has another
  // order.
  std::set<std::string> seen;
  for (std::size_t i = 0; i < 4; ++i) seen.insert(first[i].begin(), first[i].end());
  EXPECT_EQ(seen.size(), 16U);
  EXPECT_NE(first[0], first[4]);
}

TEST_F(LoaderTest, GoesOnInTheMiddle) {
  write_pictures(18);
  const auto whole = run(source(), 11).first;
  for (int done : {1, 3, 4, 6, 8}) {
    const DataPosition at = run(source(), done).second;
    EXPECT_EQ(at.epoch, done / 4);
    const auto rest = run(source(), 11 - done, at).first;
    EXPECT_EQ(rest, std::vector<Keys>(whole.begin() + done, whole.end())) << done;
  }
}

TEST_F(LoaderTest, BadPicturesAreLeftOut) {
  write_pictures(20);
  write("3.png", "no picture");
  std::filesystem::remove(folder_ / "11.png");
  write("11.txt", "number 11");
  write("11.jpg", "");
  bad_ = BadRecords(1, [this](const std::string& line) { told_.push_back(line); });
  const auto [keys, at] = run(source(), 10);
  EXPECT_GE(bad_.count(), 4);  // two in each of two epochs, and in what was read ahead
  EXPECT_EQ(static_cast<std::int64_t>(told_.size()), bad_.count());
  EXPECT_EQ(at.epoch, 2);
  for (const Keys& batch : keys) {
    EXPECT_EQ(batch.size(), 4U);
    for (const std::string& key : batch) {
      EXPECT_FALSE(key.ends_with("/3.png") || key.ends_with("/11.jpg")) << key;
    }
  }
  // and in the middle of such an epoch
  for (int done : {2, 4, 5, 7}) {
    const auto rest = run(source(), 10 - done, run(source(), done).second).first;
    EXPECT_EQ(rest, std::vector<Keys>(keys.begin() + done, keys.end())) << done;
  }
}

TEST_F(LoaderTest, TooManyBadOnesEndTheRun) {
  write_pictures(40);
  for (int i = 0; i < 20; ++i) write(std::to_string(i) + ".png", "no picture");
  try {
    run(source(), 50);
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::io);
    EXPECT_NE(std::string(e.what()).find("data.max_bad_share"), std::string::npos) << e.what();
  }
  EXPECT_EQ(bad_.count(), 11);  // 1 % of the 1,000 that are counted over at least
}

TEST_F(LoaderTest, RanksTogetherTakeWhatOneProcessTakes) {
  write_pictures(33);
  const auto whole = run(source(), 16).first;
  data_.train[0] = folder_.string();
  for (const std::int64_t ranks : {2, 4}) {
    std::vector<Keys> together(16);
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      const Share share{rank, ranks, 4 / ranks, 1};
      auto part = make_source(data_, DataKind::captions, share, 7, bad_);
      options_.batch_size = share.batch_size;
      const auto keys = run(part, 16).first;
      for (std::size_t i = 0; i < 16; ++i) {
        together[i].insert(together[i].end(), keys[i].begin(), keys[i].end());
      }
    }
    EXPECT_EQ(together, whole) << ranks;
  }
}

TEST_F(LoaderTest, RepeatedSources) {
  write_pictures(4);
  std::filesystem::create_directories(folder_ / "more");
  for (int i = 0; i < 8; ++i) {
    save_png(picture(i), folder_ / "more" / (std::to_string(i) + ".png"));
    write("more/" + std::to_string(i) + ".txt", "more");
  }
  write("list.jsonl", "{\"image\": \"0.png\", \"caption\": [\"a\", \"b\"]}");
  data_.train = {(folder_ / "list.jsonl").string(), (folder_ / "more").string()};
  data_.repeat = {3, 0.5};
  const auto source = make_source(data_, DataKind::captions, {0, 1, 10, 1}, 7, bad_);
  ASSERT_EQ(source->size(), 10);
  options_.batch_size = 10;
  const Collator collator(tokenizer_, data_, DataKind::captions, processor_);
  Loader loader(source, collator, options_, bad_);
  const Batch batch = loader.next();
  EXPECT_EQ(std::count(batch.keys.begin(), batch.keys.end(), (folder_ / "0.png").string()), 6);
  EXPECT_EQ(std::set(batch.keys.begin(), batch.keys.end()).size(), 5U);
}

TEST_F(LoaderTest, BatchesOfCaptions) {
  write_pictures(4);
  data_.prompt = "a picture of ";
  data_.text_length = 6;
  write("0.txt", "One, two. three four five");
  auto records = source();
  const Collator collator(tokenizer_, data_, DataKind::captions, processor_);
  Loader loader(records, collator, options_, bad_);
  const Batch batch = loader.next();
  EXPECT_EQ(batch.pixel_values.sizes(), (std::vector<std::int64_t>{4, 3, 8, 8}));
  EXPECT_EQ(batch.input_ids.size(1), 6);
  EXPECT_TRUE(torch::equal(batch.prompt_lengths, torch::full({4}, 4, torch::kLong)));
  for (std::int64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(batch.input_ids[i][0].item<std::int64_t>(), 101);
    EXPECT_EQ(batch.input_ids[i][1].item<std::int64_t>(), tokenizer_.id("a"));
    EXPECT_EQ(batch.input_ids[i][5].item<std::int64_t>(), 102);
  }
  EXPECT_EQ(std::get<0>(torch::_unique(batch.image_ids)).size(0), 4);
  EXPECT_FALSE(batch.labels.defined());
}

TEST_F(LoaderTest, BatchesOfQuestions) {
  save_png(picture(1), folder_ / "1.png");
  const std::string file =
      write("q.json", R"([{"question_id": 1, "question": "What (is) it?", "image": "1.png",
                     "answer": ["a dog", "dog", "a dog", "cat"], "dataset": "vqa"},
                    {"question_id": 2, "question": "Where?", "image": "1.png", "answer": "here",
                     "dataset": "vg"}])");
  data_.train = {file};
  const auto records = make_source(data_, DataKind::questions, {0, 1, 2, 1}, 7, bad_);
  options_.batch_size = 2;
  const Collator collator(tokenizer_, data_, DataKind::questions, processor_);
  Loader loader(records, collator, options_, bad_);
  const Batch batch = loader.next();
  const bool first = batch.answer_counts[0].item<std::int64_t>() == 3;
  EXPECT_TRUE(torch::equal(
      batch.answer_counts,
      torch::tensor(first ? std::vector<std::int64_t>{3, 1} : std::vector<std::int64_t>{1, 3},
                    torch::kLong)));
  EXPECT_TRUE(torch::allclose(batch.answer_weights,
                              torch::tensor(first ? std::vector<float>{.5F, .25F, .25F, .2F}
                                                  : std::vector<float>{.2F, .5F, .25F, .25F})));
  EXPECT_EQ(batch.answer_ids.size(0), 4);
  EXPECT_EQ(batch.answer_ids.size(1), 4);
  EXPECT_EQ(batch.answer_mask.sum().item<std::int64_t>(), 4 + 3 + 3 + 3);
}

TEST_F(LoaderTest, BatchesOfStatements) {
  for (int i : {10, 200}) save_png(picture(i), folder_ / (std::to_string(i) + ".png"));
  const std::string file =
      write("n.jsonl",
            R"({"images": ["10.png", "200.png"], "sentence": "The left one.", "label": "True"})");
  data_.train = {file};
  data_.images = {folder_.string()};
  const auto records = make_source(data_, DataKind::statements, {0, 1, 1, 1}, 7, bad_);
  options_.batch_size = 1;
  options_.augmentation.operations = 0;
  const Collator collator(tokenizer_, data_, DataKind::statements, processor_);
  Loader loader(records, collator, options_, bad_);
  int exchanged = 0;
  for (int i = 0; i < 60; ++i) {
    const Batch batch = loader.next();
    ASSERT_EQ(batch.pixel_values.size(0), 2);
    EXPECT_EQ(batch.labels[0].item<std::int64_t>(), 1);
    const bool left_is_dark = batch.pixel_values[0][0][0][0].item<float>() < 0;
    EXPECT_NE(left_is_dark, batch.pixel_values[1][0][0][0].item<float>() < 0);
    EXPECT_EQ(batch.input_ids[0][2].item<std::int64_t>(),
              tokenizer_.id(left_is_dark ? "left" : "right"));
    if (!left_is_dark) ++exchanged;
  }
  EXPECT_NEAR(exchanged, 30, 15);
}

TEST_F(LoaderTest, BadAnnotations) {
  write_pictures(2);
  write("0.txt", " .!. \n");
  source();
  EXPECT_EQ(bad_.count(), 1);
  data_.train = {};
  EXPECT_THROW(make_source(data_, DataKind::captions, {}, 7, bad_), Error);
  data_.train = {write("e.json", "[{\"image\": \"1.png\", \"caption\": []}]")};
  EXPECT_THROW(make_source(data_, DataKind::captions, {}, 7, bad_), Error);
}

}  // namespace
}  // namespace blip::train
