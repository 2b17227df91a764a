#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/base/json.h"
#include "blip/dataset/caption_dataset.h"
#include "blip/dataset/json_rows.h"
#include "blip/dataset/nlvr_dataset.h"
#include "blip/dataset/results.h"
#include "blip/dataset/text_cleaning.h"
#include "blip/dataset/vqa_dataset.h"

namespace blip {
namespace {

namespace fs = std::filesystem;
using Texts = std::vector<std::string>;

class Dataset : public testing::Test {
 protected:
  void SetUp() override {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = fs::temp_directory_path() / ("blip_dataset_" + std::to_string(getpid()) + name);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& content, const std::string& name = "file.json") const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return folder_ / name;
  }

  fs::path folder_;
};

template <class Call>
void expect_error(ErrorCode code, const std::string& says, Call call) {
  try {
    call();
    ADD_FAILURE() << "no error that says " << says;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    EXPECT_NE(std::string(e.what()).find(says), std::string::npos) << e.what();
  }
}

TEST_F(Dataset, CocoCaptions) {
  const auto images = read_captions(write(
      R"({"info": {"a": [1, {"b": 2}]}, "licenses": [1, "x", [2]], "type": "captions",
          "annotations": [{"image_id": 7, "id": 1, "caption": "one"}, {"image_id": 9, "caption": "x"}],
          "images": [{"id": 7, "file_name": "a.jpg", "height": 2}, {"id": 8, "file_name": "b.jpg"}]})"));
  ASSERT_EQ(images.size(), 3U);
  EXPECT_EQ(images[0].id, 7);
  EXPECT_EQ(images[0].file, "a.jpg");
  EXPECT_EQ(images[0].captions, Texts{"one"});
  EXPECT_EQ(images[1].file, "");
  EXPECT_EQ(images[2].captions, Texts{});
}

TEST_F(Dataset, KarpathyCaptions) {
  const fs::path file = write(
      R"({"images": [{"filepath": "val2014", "sentids": [1], "filename": "COCO_val2014_000000391895.jpg",
                      "split": "test", "cocoid": 391895,
                      "sentences": [{"tokens": ["a"], "raw": "A.", "imgid": 0}, {"raw": "B"}]},
                     {"filename": "1000092795.jpg", "imgid": 0, "split": "train", "sentences": []}],
          "dataset": "coco"})");
  const auto test = read_captions(file, "test");
  ASSERT_EQ(test.size(), 1U);
  EXPECT_EQ(test[0].id, 391895);
  EXPECT_EQ(test[0].file, "val2014/COCO_val2014_000000391895.jpg");
  EXPECT_EQ(test[0].captions, (Texts{"A.", "B"}));
  EXPECT_EQ(read_captions(file).size(), 2U);
  EXPECT_EQ(read_captions(file, "train")[0].id, 1000092795);
  expect_error(ErrorCode::usage, "\"val\"", [&] { read_captions(file, "val"); });
}

TEST_F(Dataset, AuthorsCaptions) {
  const auto images = read_captions(write(
      R"([{"image": "val2014/COCO_val2014_000000000042.jpg", "caption": ["a", "b"]},
          {"image": "flickr30k-images/1007129816.jpg", "caption": ["c"]}])"));
  ASSERT_EQ(images.size(), 2U);
  EXPECT_EQ(images[0].id, 42);
  EXPECT_EQ(images[0].captions, (Texts{"a", "b"}));
  EXPECT_EQ(images[1].id, 1007129816);
  const auto train = read_captions(write(
      R"([{"caption": "a", "image": "x/COCO_1.jpg", "image_id": "coco_1"},
          {"caption": "b", "image": "x/COCO_1.jpg", "image_id": "coco_1"},
          {"caption": "c", "image": "p.png", "image_id": 5}])"));
  ASSERT_EQ(train.size(), 2U);
  EXPECT_EQ(train[0].captions, (Texts{"a", "b"}));
  EXPECT_EQ(train[1].id, 5);
  EXPECT_EQ(read_captions(write(R"([{"image": "000.jpg", "caption": []}])"))[0].id, 0);
}

TEST_F(Dataset, BadCaptionFiles) {
  const auto fails = [&](const std::string& content, const std::string& says) {
    expect_error(ErrorCode::io, says, [&] { read_captions(write(content)); });
  };
  fails("", "not valid JSON");
  fails("{", "not valid JSON");
  fails("[1]", "row 0");
  fails("[[]]", "not an object");
  fails("7", "no list");
  fails("{}", "no captions");
  fails("[]", "no captions");
  fails(R"({"images": 3})", "no captions");
  fails(R"([{"caption": ["a"]}])", "\"image\"");
  fails(R"([{"image": "a.jpg", "caption": ["a"]}])", "no number");
  fails(R"([{"image": "1234567890123456789.jpg", "caption": ["a"]}])", "no number");
  fails(R"([{"image": "1.jpg", "caption": [1]}])", "list of texts");
  fails(R"([{"image": "a/1.jpg", "caption": []}, {"image": "b/1.jpg", "caption": []}])",
        "another picture");
  fails(R"({"images": [{"id": "x"}]})", "integer");
  fails(R"({"images": [{"id": 18446744073709551615}]})", "integer");
  fails(R"({"images": [{"id": 1.5}]})", "integer");
  fails(R"({"annotations": [{"image_id": 1, "caption": null}]})", "text \"caption\"");
  fails("[{\"image\": \"\xFF\"}]", "not valid JSON");
  fails(R"([{"image": "1.jpg", "caption": ["a"]})", "not valid JSON");
  expect_error(ErrorCode::not_found, "none", [&] { read_captions(folder_ / "none.json"); });
  expect_error(ErrorCode::usage, "splits",
               [&] { read_captions(write(R"([{"image": "1.jpg", "caption": []}])"), "test"); });
}

TEST_F(Dataset, HostileNesting) {
  const std::string deep(100000, '[');
  expect_error(ErrorCode::io, "JSON", [&] { read_captions(write("{\"info\": " + deep)); });
  expect_error(ErrorCode::io, "16 levels", [&] { read_captions(write("[{\"a\": " + deep)); });
  EXPECT_EQ(read_captions(write("{\"info\": " + deep + std::string(100000, ']') +
                                R"(, "images": [{"id": 1}]})"))
                .size(),
            1U);
  std::string keys = "[{\"k\": 0";
  for (int i = 0; i < 300; ++i) keys += ", \"" + std::to_string(i) + "\": 0";
  expect_error(ErrorCode::io, "256 keys", [&] { read_captions(write(keys + "}]")); });
}

TEST_F(Dataset, VqaOfficial) {
  const Texts files = {
      write(R"({"info": {}, "data_subtype": "val2014", "questions": [
                {"image_id": 262148, "question": "What?", "question_id": 262148000},
                {"image_id": 1, "question": "Who?", "question_id": 5}]})",
            "q.json"),
      write(R"({"annotations": [{"question_id": 5, "answer_type": "other", "image_id": 1,
                "answers": [{"answer": "he", "answer_id": 1}, {"answer": "she", "answer_id": 2}]}]})",
            "a.json")};
  const auto both = read_vqa(std::vector<fs::path>(files.begin(), files.end()));
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(both[0].id, 262148000);
  EXPECT_EQ(both[0].image, "COCO_val2014_000000262148.jpg");
  EXPECT_EQ(both[1].text, "Who?");
  EXPECT_EQ(both[1].answers, (Texts{"he", "she"}));
  EXPECT_EQ(both[1].answer_type, "other");
  const fs::path test = write(
      R"({"questions": [{"image_id": 7, "question": "x", "question_id": 1}], "data_subtype": "test-dev2015"})");
  EXPECT_EQ(read_vqa({&test, 1})[0].image, "COCO_test2015_000000000007.jpg");
}

TEST_F(Dataset, VqaOfTheAuthors) {
  const fs::path file = write(
      R"([{"question_id": 1, "question": "a?", "image": "v/1.jpg", "answer": ["x", "y"], "dataset": "vqa"},
          {"question_id": 2, "question": "b?", "image": "v/2.jpg", "dataset": "vqa"},
          {"question_id": 3, "question": "c?", "image": "v/3.jpg", "answer": "z", "dataset": "vg"}])");
  const auto questions = read_vqa({&file, 1});
  ASSERT_EQ(questions.size(), 3U);
  EXPECT_EQ(questions[0].answers, (Texts{"x", "y"}));
  EXPECT_EQ(questions[0].image, "v/1.jpg");
  EXPECT_TRUE(questions[1].answers.empty());
  EXPECT_EQ(questions[2].answers, Texts{"z"});
}

TEST_F(Dataset, BadVqaFiles) {
  const auto fails = [&](const std::string& content, const std::string& says) {
    expect_error(ErrorCode::io, says, [&] {
      const fs::path file = write(content);
      read_vqa({&file, 1});
    });
  };
  fails("{}", "no questions");
  fails(R"({"annotations": [{"question_id": 1, "answers": ["a"]}]})", "list of objects");
  fails(R"({"annotations": [{"question_id": 1, "answers": 1}]})", "\"answers\"");
  fails(
      R"({"questions": [{"question_id": 1, "question": "a"}, {"question_id": 1, "question": "b"}]})",
      "repeats question 1");
  fails(
      R"({"annotations": [{"question_id": 1, "answers": [{"answer": "a"}]}, {"question_id": 1, "answers": [{"answer": "a"}]}]})",
      "repeats");
}

TEST_F(Dataset, NlvrOfficial) {
  const auto examples = read_nlvr(
      write("{\"sentence\": \"S.\", \"identifier\": \"dev-850-1-0\", \"label\": \"True\"}\n\n"
            "{\"sentence\": \"S.\", \"identifier\": \"dev-850-2-0\", \"label\": \"False\"}\r\n"
            "{\"sentence\": \"T.\", \"identifier\": \"dev-850-2-1\"}"));
  ASSERT_EQ(examples.size(), 3U);
  EXPECT_EQ(examples[0].images[0], "dev-850-1-img0.png");
  EXPECT_EQ(examples[0].images[1], "dev-850-1-img1.png");
  EXPECT_EQ(examples[0].label, true);
  EXPECT_EQ(examples[1].label, false);
  EXPECT_FALSE(examples[2].label.has_value());
  EXPECT_EQ(examples[0].group, examples[1].group);
  EXPECT_NE(examples[1].group, examples[2].group);
}

TEST_F(Dataset, NlvrOfTheAuthors) {
  const auto examples = read_nlvr(write(
      R"([{"sentence": "S", "images": ["dev/dev-850-1-img0.png", "dev/dev-850-1-img1.png"], "label": "True"},
          {"sentence": "S", "images": ["dev/dev-850-2-img0.png", "dev/dev-850-2-img1.png"], "label": "False"},
          {"sentence": "S", "images": ["dev/dev-851-0-img0.png", "dev/dev-851-0-img1.png"], "label": "False"}])"));
  ASSERT_EQ(examples.size(), 3U);
  EXPECT_EQ(examples[1].identifier, "1");
  EXPECT_EQ(examples[0].group, examples[1].group);
  EXPECT_NE(examples[0].group, examples[2].group);
}

TEST_F(Dataset, BadNlvrFiles) {
  const auto fails = [&](const std::string& content, const std::string& says) {
    expect_error(ErrorCode::io, says, [&] { read_nlvr(write(content)); });
  };
  fails("", "no examples");
  fails("{]\n", "line 1");
  fails("\n3\n", "line 2");
  fails(R"({"sentence": "S", "identifier": "x", "label": "True"})", "split-set-pair-sentence");
  fails(R"({"sentence": "S", "identifier": "a-b-c-d", "label": "yes"})", "True or False");
  fails(
      "{\"sentence\": \"S\", \"identifier\": \"a-b-c-d\"}\n{\"sentence\": \"S\", \"identifier\": "
      "\"a-b-c-d\"}",
      "repeats");
  fails(R"([{"sentence": "S", "images": ["a"], "label": "True"}])", "2 were expected");
}

TEST_F(Dataset, ResultsAreWrittenAsPythonWrites) {
  const fs::path file = folder_ / "r.json";
  write_results(file, std::vector<CaptionResult>{{42, "a \"caf\u00E9\"\n"}, {-1, ""}});
  EXPECT_EQ(
      read_file(file, 1000),
      R"([{"image_id": 42, "caption": "a \"caf\u00e9\"\n"}, {"image_id": -1, "caption": ""}])");
  const auto captions = read_caption_results(file);
  ASSERT_EQ(captions.size(), 2U);
  EXPECT_EQ(captions[0].caption, "a \"caf\u00E9\"\n");
  write_results(file, std::vector<VqaResult>{{7, "two"}});
  EXPECT_EQ(read_file(file, 1000), R"([{"question_id": 7, "answer": "two"}])");
  EXPECT_EQ(read_vqa_results(file)[0].answer, "two");
  write_results(file, std::vector<CaptionResult>{});
  EXPECT_TRUE(read_caption_results(file).empty());
  write_results(file, std::vector<NlvrResult>{{"dev-1-2-3", true}, {"dev-1-2-4", false}});
  EXPECT_EQ(read_file(file, 1000), "dev-1-2-3,True\ndev-1-2-4,False\n");
  EXPECT_TRUE(read_nlvr_results(file)[0].label);
  EXPECT_FALSE(read_nlvr_results(file)[1].label);
}

TEST_F(Dataset, BadResults) {
  expect_error(ErrorCode::io, "repeats image_id 1", [&] {
    read_caption_results(
        write(R"([{"image_id": 1, "caption": "a"}, {"image_id": 1, "caption": "b"}])"));
  });
  expect_error(ErrorCode::io, "not a list", [&] {
    read_caption_results(write(R"({"annotations": [{"image_id": 1, "caption": "a"}]})"));
  });
  expect_error(ErrorCode::io, "\"caption\"",
               [&] { read_caption_results(write(R"([{"image_id": 1}])")); });
  expect_error(ErrorCode::io, "\"answer\"",
               [&] { read_vqa_results(write(R"([{"question_id": 1, "answer": 2}])")); });
  expect_error(ErrorCode::io, "line 2", [&] { read_nlvr_results(write("a,True\nb\n")); });
  expect_error(ErrorCode::io, "repeats", [&] { read_nlvr_results(write("a,True\na,false\n")); });
}

TEST(TextCleaning, AsTheAuthorsDo) {
  EXPECT_EQ(clean_caption(" A dog. It's (big)!  ", 30), "a dog it's big");
  EXPECT_EQ(clean_caption("a-b, c; d:e~f", 30), "a-b, c d e f");
  EXPECT_EQ(clean_caption("one two three", 2), "one two");
  EXPECT_EQ(clean_caption("a\tb\t\tc\n", 30), "a\tb c");
  EXPECT_EQ(clean_caption("...", 30), "");
  EXPECT_EQ(clean_caption("[SEP]", 30), "[sep]");
  EXPECT_EQ(clean_question("Is it (really) Two.Three?  "), "is it really twothree?");
  EXPECT_EQ(clean_question(" a  b c", 3), " a ");
  EXPECT_EQ(clean_question(""), "");
}

TEST(TextCleaning, GoldenCases) {
  const Json cases =
      read_json(BLIP_SOURCE_DIR "/tests/golden/data/E_original/text_cleaning.json")["cases"];
  ASSERT_GT(cases.size(), 50U);
  for (const Json& c : cases) {
    const auto text = c["text"].get<std::string>();
    const auto words = c["max_words"].get<std::size_t>();
    EXPECT_EQ(clean_caption(text, words), c["caption"].get<std::string>()) << c.dump();
    EXPECT_EQ(clean_question(text, words), c["question"].get<std::string>()) << c.dump();
  }
}

}  // namespace
}  // namespace blip
