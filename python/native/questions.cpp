#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/tasks/vqa.h"
#include "python/native/engine.h"
#include "python/native/options.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace blip::python {
namespace {

std::vector<Question> questions_of(const Loaded& loaded,
                                   const std::vector<const Picture*>& pictures,
                                   const std::vector<std::string>& texts) {
  const std::vector<EncodedImage> images = images_of(loaded, pictures);
  as_many(images.size(), texts.size(), "questions");
  std::vector<Question> questions;
  for (std::size_t i = 0; i < images.size(); ++i) questions.push_back({images[i], texts[i]});
  return questions;
}

/// For each question its answers, as what blip_cpp.Answer is made of.
nb::list rows(const std::vector<Answers>& all) {
  nb::list rows;
  for (const Answers& answers : all) {
    nb::list row;
    for (const Answer& answer : answers.answers)
      row.append(nb::make_tuple(answer.text, answer.probability, answer.score));
    rows.append(row);
  }
  return rows;
}

nb::list answer(const Loaded& loaded, const std::vector<const Picture*>& pictures,
                const std::vector<std::string>& texts, const nb::dict& generation) {
  const std::vector<Question> questions = questions_of(loaded, pictures, texts);
  const QuestionAnswerer answerer(loaded.engine);
  AnswerOptions options = answerer.default_options();
  update(options.generation, generation);
  answerer.validate(options);
  std::vector<Answers> answers;
  {
    const nb::gil_scoped_release released;
    answers = answerer.answer(questions, options, loaded.context);
  }
  return rows(answers);
}

nb::list rank(const Loaded& loaded, const std::vector<const Picture*>& pictures,
              const std::vector<std::string>& texts, const std::vector<std::string>& candidates,
              int top_k) {
  const std::vector<Question> questions = questions_of(loaded, pictures, texts);
  if (top_k < 1) throw Error(ErrorCode::usage, "top_k is at least 1");
  std::vector<Answers> answers;
  {
    const nb::gil_scoped_release released;
    const QuestionAnswerer answerer(loaded.engine);
    answers = answerer.rank(questions, answerer.encode_answers(candidates), {.top_k = top_k},
                            loaded.context);
  }
  return rows(answers);
}

}  // namespace

void bind_questions(nb::class_<Loaded>& engine) {
  engine
      .def("answer", &answer, "pictures"_a, "questions"_a, "generation"_a,
           "For each picture written answers, best first: (text, probability, score).")
      .def("rank", &rank, "pictures"_a, "questions"_a, "answers"_a, "top_k"_a,
           "For each picture the likeliest answers of a list: (text, probability, score).");
}

}  // namespace blip::python
