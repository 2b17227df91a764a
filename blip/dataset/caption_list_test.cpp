#include "blip/dataset/caption_list.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/dataset/caption_dataset.h"

namespace blip {
namespace {

namespace fs = std::filesystem;
using Names = std::unordered_set<std::string>;
using Texts = std::vector<std::string>;

class CaptionListTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    file_ = fs::temp_directory_path() / ("blip_list_" + std::to_string(getpid()) + name + ".jsonl");
  }
  void TearDown() override { fs::remove(file_); }

  void write(const std::string& content) const {
    std::ofstream(file_, std::ios::binary) << content;
  }
  std::string content() const { return read_file(file_, 1 << 20); }

  fs::path file_;
};

TEST_F(CaptionListTest, RowsCanBeReadBack) {
  const Texts hard = {"a \"cat\", a\nline", "two"};
  for (const ListForm form : {ListForm::jsonl, ListForm::csv}) {
    fs::remove(file_);
    {
      CaptionList list(file_, form);
      list.append("a\n\"b,.jpg", std::span(hard).first(1));
      list.append("c.jpg", hard);
      EXPECT_TRUE(list.has("c.jpg"));
    }
    const CaptionList again(file_, form);
    EXPECT_EQ(again.size(), 2U);
    EXPECT_TRUE(again.has("a\n\"b,.jpg"));
    EXPECT_EQ(again.cut_off(), 0U);
  }
  EXPECT_EQ(content(),
            "file_name,text\n\"a\n\"\"b,.jpg\",\"a \"\"cat\"\", a\nline\"\n"
            "\"c.jpg\",\"a \"\"cat\"\", a\nline\ntwo\"\n");
}

TEST(CaptionRows, CaptionsJoinTheirText) {
  const auto line = [](const std::string& before, const Texts& captions, bool after = true) {
    return with_added(before, captions, {", ", after}, ListForm::jsonl);
  };
  const std::string row = R"({"id":1,"file_name":"a.png","text":"1cat","ok":true})"
                          "\n";
  const std::string added = R"({"id":1,"file_name":"a.png","text":"1cat, a cat","ok":true})"
                            "\n";
  EXPECT_EQ(line(row, {"a cat"}), added);
  EXPECT_EQ(line(added, {"a cat"}), added);
  EXPECT_EQ(line(row, {"a cat"}, false),
            R"({"id":1,"file_name":"a.png","text":"a cat, 1cat","ok":true})"
            "\n");
  EXPECT_EQ(line(row, {"a cat", "1cat"}),
            R"({"id":1,"file_name":"a.png","text":["1cat","a cat"],"ok":true})"
            "\n");
  const std::string once = line(R"({"file_name":"a","text":"x"})", {"\xFF"});
  EXPECT_EQ(line(once, {"\xFF"}), once);
  const auto text = [&](const std::string& before, const Texts& captions, bool after = true) {
    const std::string begin = R"({"file_name":"a","text":)";
    const std::string whole = line(begin + before + "}\n", captions, after);
    return whole.substr(begin.size(), whole.size() - begin.size() - 2);
  };
  EXPECT_EQ(text(R"(["x","y"])", {"z"}, false), R"(["z","x","y"])");
  EXPECT_EQ(text(R"(["x"])", {"z"}), R"(["x","z"])");
  EXPECT_EQ(text("[]", {"z"}), R"(["z"])");
  EXPECT_EQ(text("null", {"z"}), R"("z")");
  EXPECT_EQ(text(R"("")", {"z"}), R"("z")");
  EXPECT_THROW(text("7", {"z"}), Error);
  EXPECT_THROW(text(R"(["x",7])", {"z"}), Error);
  EXPECT_EQ(line(R"({"file_name":"a"})", {"z"}), R"({"file_name":"a","text":"z"})"
                                                 "\n");

  const auto record = [](const std::string& before, const Texts& captions, bool after = true) {
    return with_added(before, captions, {"; ", after}, ListForm::csv);
  };
  EXPECT_EQ(record("a,x\xFF\r\n", {"z"}), "\"a\",\"x\xFF; z\"\n");
  EXPECT_EQ(record("a,x\n", {"z", "w"}), "\"a\",\"x\nz\nw\"\n");
  EXPECT_EQ(record("a,\"x\ny\"\n", {"z"}, false), "\"a\",\"z\nx\ny\"\n");
  EXPECT_EQ(record("a,\"x\nz\"\n", {"z"}), "a,\"x\nz\"\n");
  EXPECT_EQ(record("a,\n", {"z"}), "\"a\",\"z\"\n");
}

TEST_F(CaptionListTest, CaptionsJoinTheRowsOfTheirPictures) {
  const fs::path added = file_.string() + ".added";
  write("file_name,text\na,1\nb,2\na,3\nc,4");
  {
    CaptionList list(added, ListForm::csv);
    for (const char* name : {"new", "c", "a"}) list.append(name, Texts{"x"});
  }
  const std::string merged =
      "file_name,text\n\"a\",\"1, x\"\nb,2\na,3\n\"c\",\"4, x\"\n\"new\",\"x\"\n";
  for (int again = 0; again < 2; ++again) {
    merge_captions(file_, added, {", "}, ListForm::csv);
    EXPECT_EQ(content(), merged);
  }
  fs::remove(file_);
  merge_captions(file_, added, {", "}, ListForm::csv);
  EXPECT_EQ(content(), read_file(added, 1 << 20));
  fs::remove(added);
  write("{\"file_name\":\"a\",\"text\":null}\n");
  require_texts(file_, ListForm::jsonl);
  write("{\"file_name\":\"a\",\"text\":1}\n");
  EXPECT_THROW(require_texts(file_, ListForm::jsonl), Error);
}

TEST_F(CaptionListTest, TheTrainerReadsLines) {
  {
    CaptionList list(file_, ListForm::jsonl);
    const Texts captions = {"one", "two"};
    list.append("a.jpg", captions);
    list.append("b.jpg", std::span(captions).first(1));
  }
  const auto images = read_captions(file_, "", MissingId::numbered);
  ASSERT_EQ(images.size(), 2U);
  EXPECT_EQ(images[0].captions, (Texts{"one", "two"}));
  EXPECT_EQ(images[1].captions, Texts{"one"});
}

TEST_F(CaptionListTest, ARowCutAnywhereIsWrittenAgain) {
  const Texts caption = {"a \"b\" c"};
  for (const ListForm form : {ListForm::jsonl, ListForm::csv}) {
    fs::remove(file_);
    { CaptionList(file_, form).append("a.jpg", caption); }
    const std::size_t first = content().size();
    { CaptionList(file_, form).append("b.jpg", caption); }
    const std::string whole = content();
    for (std::size_t size = first; size < whole.size() - 1; ++size) {
      // A quote that is one of a pair looks like the last.
      if (form == ListForm::csv && whole[size - 1] == '"' && whole[size] == '"') continue;
      write(whole.substr(0, size));
      CaptionList list(file_, form);
      EXPECT_EQ(list.cut_off(), size - first);
      if (!list.has("b.jpg")) list.append("b.jpg", caption);
      EXPECT_EQ(content(), whole) << size;
    }
  }
}

TEST_F(CaptionListTest, AnotherHandsLastRowIsKept) {
  write(
      "{\"file_name\": \"a.jpg\", \"text\": \"mine\", \"score\": 1}\n\n{\"file_name\": \"b.jpg\"}");
  CaptionList list(file_, ListForm::jsonl);
  EXPECT_TRUE(list.has("a.jpg") && list.has("b.jpg"));
  EXPECT_EQ(content().back(), '\n');
}

TEST_F(CaptionListTest, RowsOfAnotherListAreTakenOverAsTheyAre) {
  const fs::path old = file_.string() + ".old";
  const Texts caption = {"new"};
  const auto taken = [&](const std::string& rows, ListForm form) {
    std::ofstream(old, std::ios::binary) << rows;
    fs::remove(file_);
    CaptionList list(file_, form);
    list.append("a", caption);
    list.take_over(old, {"b", "c"});
    EXPECT_TRUE(list.has("b") && !list.has("c") && !list.has("z"));
    return content();
  };
  const std::string row = "{\"text\": \"mine\", \"file_name\": \"b\", \"score\": 1}";
  EXPECT_EQ(taken("{\"file_name\": \"a\"}\n{\"file_name\": \"z\"}\n" + row, ListForm::jsonl),
            "{\"file_name\":\"a\",\"text\":\"new\"}\n" + row + "\n");
  EXPECT_EQ(taken("file_name,text\na,old\nb,\"mi\nne\"\r\nz,other\n", ListForm::csv),
            "file_name,text\n\"a\",\"new\"\nb,\"mi\nne\"\r\n");
  fs::remove(old);
  CaptionList(file_, ListForm::csv).take_over(old, {"b"});
}

TEST_F(CaptionListTest, Refuses) {
  const auto message = [](std::string_view text, ListForm form) -> std::string {
    try {
      read_listed(text, form, "f");
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::io);
      return e.what();
    }
    return "";
  };
  EXPECT_NE(message("{\"file_name\": \"a\"}\nx\n", ListForm::jsonl).find("row 2 of f"),
            std::string::npos);
  EXPECT_NE(message("[1]\n", ListForm::jsonl), "");
  EXPECT_NE(message("name,caption\n", ListForm::csv), "");
  EXPECT_NE(message("hello", ListForm::csv), "");
  EXPECT_NE(message("file_name,text\na,b,c\n", ListForm::csv), "");
  EXPECT_EQ(message("file_na", ListForm::csv), "");
  // What somebody wrote is not taken for the rest of a row.
  EXPECT_NE(message("file_name,text\n\"a\",\"5\nb,c\nd,e\n", ListForm::csv), "");
  EXPECT_NE(message("file_name,text\nb.jpg", ListForm::csv), "");
  EXPECT_NE(message("{\"text\": \"mine\", \"file_name\": \"a\"", ListForm::jsonl), "");
  EXPECT_EQ(read_listed("file_name,text\r\na,b\r\n\r\n", ListForm::csv, "f").names, Names{"a"});

  { const CaptionList nothing(file_, ListForm::csv); }
  EXPECT_FALSE(fs::exists(file_));
  const CaptionList list(file_, ListForm::jsonl);
  EXPECT_THROW(list.has("caf\xE9.jpg"), Error);
  EXPECT_THROW(CaptionList(file_, ListForm::jsonl), Error);  // in use
  EXPECT_THROW(CaptionList("/dev/full", ListForm::csv), Error);
}

}  // namespace
}  // namespace blip
