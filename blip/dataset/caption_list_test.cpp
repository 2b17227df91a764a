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
  const auto line = [](const std::string& row, const Texts& captions, bool after = true) {
    return with_added(row, {captions, ", ", after}, ListForm::jsonl);
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
  EXPECT_EQ(line(R"({"file_name":"a","text":["x","y"]})", {"z"}, false),
            R"({"file_name":"a","text":["z","x","y"]})"
            "\n");
  EXPECT_EQ(line(R"({"file_name":"a"})", {"z"}), R"({"file_name":"a","text":"z"})"
                                                 "\n");
  EXPECT_EQ(line(R"({"file_name":"a","text":""})", {"z"}), R"({"file_name":"a","text":"z"})"
                                                           "\n");
  EXPECT_THROW(line(R"({"file_name":"a","text":7})", {"z"}), Error);
  EXPECT_THROW(line(R"({"file_name":"a","text":["x",7]})", {"z"}), Error);

  const Texts both = {"z", "w"};
  EXPECT_EQ(with_added("a,x\xFF\r\n", {both, "; ", true}, ListForm::csv),
            "\"a\",\"x\xFF; z\nw\"\n");
  EXPECT_EQ(with_added("a,\"z\nw; x\"\n", {both, "; ", false}, ListForm::csv), "a,\"z\nw; x\"\n");
}

TEST_F(CaptionListTest, ChangedRowsTakeTheirOldPlaces) {
  const fs::path changed = file_.string() + ".changed";
  write("file_name,text\na,1\nb,2\na,3\nc,4");
  {
    CaptionList list(changed, ListForm::csv);
    list.append("new", Texts{"n"});
    list.append("c", Texts{"C"});
    list.append_row("a", "a,A\n");
  }
  for (int again = 0; again < 2; ++again) {
    merge_rows(file_, changed, ListForm::csv);
    EXPECT_EQ(content(), again == 0 ? "file_name,text\na,A\nb,2\na,3\n\"c\",\"C\"\n\"new\",\"n\"\n"
                                    : content());
    EXPECT_EQ(rows_by_name(file_, ListForm::csv).at("a"), "a,A\n");
  }
  EXPECT_EQ(std::ranges::count(content(), '\n'), 6);
  fs::remove(file_);
  merge_rows(file_, changed, ListForm::csv);
  EXPECT_EQ(content(), read_file(changed, 1 << 20));
  fs::remove(changed);
  EXPECT_TRUE(rows_by_name(changed, ListForm::csv).empty());
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
