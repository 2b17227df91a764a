#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/dataset/caption_dataset.h"
#include "blip/dataset/nlvr_dataset.h"
#include "blip/dataset/vqa_dataset.h"

namespace blip {
namespace {

namespace fs = std::filesystem;
using Texts = std::vector<std::string>;

/// Files as people keep them to train on.
class TrainingFiles : public testing::Test {
 protected:
  void SetUp() override {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = fs::temp_directory_path() / ("blip_training_" + std::to_string(getpid()) + name);
    fs::create_directories(folder_ / "b");
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return folder_ / name;
  }

  fs::path folder_;
};

TEST_F(TrainingFiles, CaptionLines) {
  const auto images = read_captions(write("c.jsonl", R"({"image": "cat.jpg", "caption": "a cat"}
{"file_name": "dog.jpg", "text": ["a dog", "an animal"]}

{"image": "cat.jpg", "caption": "it sleeps", "image_id": 7}
)"),
                                    "", MissingId::numbered);
  ASSERT_EQ(images.size(), 2U);
  EXPECT_EQ(images[0].file, "cat.jpg");
  EXPECT_EQ(images[0].captions, (Texts{"a cat", "it sleeps"}));
  EXPECT_EQ(images[1].id, 1);
  EXPECT_EQ(images[1].captions, (Texts{"a dog", "an animal"}));
  EXPECT_THROW(read_captions(folder_ / "c.jsonl"), Error);  // no number in cat.jpg
  EXPECT_THROW(read_captions(write("d.jsonl", "{\"image\": \"cat.jpg\"}"), "", MissingId::numbered),
               Error);
}

TEST_F(TrainingFiles, ListsWithoutNumbers) {
  const auto images = read_captions(
      write("c.json",
            R"([{"image": "x.jpg", "caption": "a"}, {"image": "y.jpg", "caption": "b"}])"),
      "", MissingId::numbered);
  ASSERT_EQ(images.size(), 2U);
  EXPECT_EQ(images[1].id, 1);
}

TEST_F(TrainingFiles, FolderWithSidecars) {
  for (const char* name : {"a.jpg", "b/c.PNG", "d.webp", "e.jpg"}) write(name, "x");
  write("a.txt", "one\r\n\n two\n");
  write("b/c.caption", "three");
  write("d.txt", "four");
  write("d.caption", "not this one");
  const auto images = read_captioned_folder(folder_);
  ASSERT_EQ(images.size(), 4U);
  EXPECT_EQ(images[0].file, "a.jpg");
  EXPECT_EQ(images[0].captions, (Texts{"one\r", " two"}));
  EXPECT_EQ(images[1].file, "b/c.PNG");
  EXPECT_EQ(images[1].captions, Texts{"three"});
  EXPECT_EQ(images[2].captions, Texts{"four"});
  EXPECT_TRUE(images[3].captions.empty());
  EXPECT_EQ(images[3].id, 3);
  write("metadata.jsonl", R"({"file_name": "a.jpg", "text": "from the list"})");
  ASSERT_EQ(read_captioned_folder(folder_).size(), 1U);
  fs::create_directories(folder_ / "empty");
  EXPECT_THROW(read_captioned_folder(folder_ / "empty"), Error);
}

TEST_F(TrainingFiles, QuestionLines) {
  const fs::path file = write("q.jsonl", R"({"image": "1.jpg", "question": "what?", "answer": "two"}
{"image": "1.jpg", "question": "who?", "answer": ["a", "a", "b"], "dataset": "vg"})");
  const auto questions = read_vqa({&file, 1});
  ASSERT_EQ(questions.size(), 2U);
  EXPECT_EQ(questions[0].answers, Texts{"two"});
  EXPECT_EQ(questions[1].answers, (Texts{"a", "a", "b"}));
  EXPECT_EQ(questions[1].dataset, "vg");
  EXPECT_EQ(questions[1].image, "1.jpg");
}

TEST_F(TrainingFiles, StatementLines) {
  const auto examples =
      read_nlvr(write("n.jsonl", R"({"images": ["l.png", "r.png"], "sentence": "s", "label": "True"}
{"images": ["l.png", "q.png"], "sentence": "s", "label": "False"})"));
  ASSERT_EQ(examples.size(), 2U);
  EXPECT_EQ(examples[1].images[1], "q.png");
  EXPECT_EQ(examples[1].label, false);
}

}  // namespace
}  // namespace blip
