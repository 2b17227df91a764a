#include "blip/dataset/vqa_dataset.h"

#include <cstddef>
#include <cstdio>
#include <unordered_map>
#include <utility>

#include "blip/base/error.h"
#include "blip/dataset/json_rows.h"

namespace blip {
namespace {

/// The name of a picture of COCO 2014 or 2015.
std::string coco_name(const std::string& subtype, std::int64_t id) {
  char number[32];
  std::snprintf(number, sizeof number, "%012lld", static_cast<long long>(id));
  // The questions of test-dev are about pictures of the test set.
  const std::string set = subtype.starts_with("test") ? "test2015" : subtype;
  return "COCO_" + set + "_" + number + ".jpg";
}

class VqaReader {
 public:
  void read(const std::filesystem::path& file) {
    std::string subtype;
    std::vector<std::pair<std::size_t, std::int64_t>> pictures;  // question and COCO's id
    bool known = false;
    if (file.extension() == ".jsonl") {
      for_each_line(file, [&](const Row& row) { take_line(row); });
      if (questions_.empty()) throw Error(ErrorCode::io, file.string() + " holds no questions");
      return;
    }
    for_each_row(
        file,
        [&](const Row& row) {
          if (row.list() == "questions") {
            const std::size_t index = take_question(row);
            if (row.has("image_id")) pictures.emplace_back(index, row.integer("image_id"));
          } else if (row.list() == "annotations") {
            take_annotation(row);
          } else if (row.list().empty()) {
            take_authors(row);
          } else {
            return;
          }
          known = true;
        },
        [&](std::string_view key, const std::string& value) {
          if (key == "data_subtype") subtype = value;
        });
    if (!known) {
      throw Error(ErrorCode::io, file.string() + " holds no questions or answers in a known form");
    }
    if (subtype.empty()) return;
    for (const auto& [index, picture] : pictures) {
      questions_[index].image = coco_name(subtype, picture);
    }
  }

  std::vector<VqaQuestion> finish() { return std::move(questions_); }

 private:
  std::size_t index_of(std::int64_t id) {
    const auto [entry, added] = index_of_.try_emplace(id, questions_.size());
    if (added) questions_.emplace_back().id = id;
    return entry->second;
  }

  [[noreturn]] static void fail_twice(const Row& row) {
    throw Error(ErrorCode::io,
                row.where() + " repeats question " +
                    (row.has("question_id") ? std::to_string(row.integer("question_id")) : ""));
  }

  std::size_t take_question(const Row& row) {
    return take_question(row, row.integer("question_id"));
  }

  std::size_t take_question(const Row& row, std::int64_t id) {
    const std::size_t index = index_of(id);
    VqaQuestion& question = questions_[index];
    if (!question.text.empty()) fail_twice(row);
    question.text = row.text("question");
    return index;
  }

  void take_annotation(const Row& row) {
    VqaQuestion& question = questions_[index_of(row.integer("question_id"))];
    if (!question.answers.empty()) fail_twice(row);
    for (const Row& answer : row.rows("answers")) question.answers.push_back(answer.text("answer"));
    if (row.has("answer_type")) question.answer_type = row.text("answer_type");
  }

  void take_authors(const Row& row) { fill(questions_[take_question(row)], row); }

  void take_line(const Row& row) {
    const bool stated = row.has("question_id");
    const auto number = static_cast<std::int64_t>(questions_.size());
    fill(questions_[take_question(row, stated ? row.integer("question_id") : number)], row);
  }

  static void fill(VqaQuestion& question, const Row& row) {
    question.image = row.text("image");
    if (row.has("answer")) question.answers = row.texts("answer");
    if (row.has("dataset")) question.dataset = row.text("dataset");
  }

  std::vector<VqaQuestion> questions_;
  std::unordered_map<std::int64_t, std::size_t> index_of_;
};

}  // namespace

std::vector<VqaQuestion> read_vqa(std::span<const std::filesystem::path> files) {
  VqaReader reader;
  for (const std::filesystem::path& file : files) reader.read(file);
  return reader.finish();
}

}  // namespace blip
