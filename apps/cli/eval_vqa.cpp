#include <algorithm>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>

#include "apps/cli/eval_run.h"
#include "apps/cli/stop.h"
#include "apps/cli/text_flags.h"
#include "blip/base/error.h"
#include "blip/dataset/results.h"
#include "blip/dataset/text_cleaning.h"
#include "blip/dataset/vqa_dataset.h"
#include "blip/metrics/vqa_accuracy.h"
#include "blip/tasks/vqa.h"
#include "blip/tokenizer/tokenizer.h"

namespace blip::cli {
namespace {

struct VqaEvalFlags {
  EvalFlags common;
  std::string questions;
  std::string answers;
  GenerationFlags generation;
  CLI::Option* top_k = nullptr;  ///< of the generation flags; with --answers the paper's k
};

using AnswerOf = std::unordered_map<std::int64_t, std::string>;

std::vector<std::filesystem::path> inputs_of(const VqaEvalFlags& flags) {
  std::vector<std::filesystem::path> files = {flags.common.annotations};
  if (!flags.questions.empty()) files.insert(files.begin(), flags.questions);
  return files;
}

EvalReport score(const std::vector<VqaQuestion>& questions, const AnswerOf& answers) {
  std::map<std::string, std::pair<double, std::size_t>> sums;  // by answer type; "" for all
  std::size_t known = 0;
  std::size_t missing = 0;
  for (const VqaQuestion& question : questions) {
    const auto answer = answers.find(question.id);
    if (answer == answers.end()) {
      ++missing;
      continue;
    }
    ++known;
    if (question.answers.empty()) continue;
    const double accuracy = vqa_accuracy(answer->second, question.answers);
    for (const std::string& type : {std::string(), question.answer_type}) {
      sums[type].first += accuracy;
      ++sums[type].second;
      if (question.answer_type.empty()) break;
    }
  }
  if (known < answers.size()) {
    throw Error(ErrorCode::usage, std::to_string(answers.size() - known) + " of " +
                                      std::to_string(answers.size()) +
                                      " results are for questions that are not in the annotations");
  }
  EvalReport report{"vqa", {}, missing};
  for (const auto& [type, sum] : sums) {
    std::string key = type.empty() ? "accuracy" : "accuracy_" + type;
    std::replace_if(
        key.begin(), key.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
    report.metrics.push_back({key, type.empty() ? "accuracy" : type,
                              100 * sum.first / static_cast<double>(sum.second), sum.second});
  }
  return report;
}

/// Generates, or ranks a list of answers.
class Answering {
 public:
  Answering(const VqaEvalFlags& flags, const QuestionAnswerer& answerer)
      : answerer_(answerer), generate_(answerer.default_options()) {
    if (flags.answers.empty()) {
      flags.generation.apply_to(generate_.generation);
      answerer.validate(generate_);
    } else {
      list_ = answerer.encode_answers(read_texts(flags.answers));
      if (flags.top_k->count() > 0) rank_.top_k = flags.top_k->as<int>();
    }
  }

  Json describe() const {
    Json texts = Json::array();
    for (const AnswerList::Entry& entry : list_.entries) texts.push_back(entry.text);
    return {{"generation", cli::to_json(generate_.generation)},
            {"answers", texts},
            {"top_k", rank_.top_k}};
  }

  std::vector<Answers> answer(std::span<const Question> questions, const Context& context) const {
    if (list_.entries.empty()) return answerer_.answer(questions, generate_, context);
    return answerer_.rank(questions, list_, rank_, context);
  }

 private:
  const QuestionAnswerer& answerer_;
  AnswerOptions generate_;
  RankOptions rank_;
  AnswerList list_;
};

/// Runs the model; returns its answers and whether all questions have one.
std::pair<AnswerOf, bool> run_model(const VqaEvalFlags& flags,
                                    const std::vector<VqaQuestion>& questions) {
  install_stop_handler();
  const QuestionAnswerer answerer(flags.common.model.load());
  const Answering answering(flags, answerer);
  const std::vector<std::filesystem::path> inputs = inputs_of(flags);
  EvalRun run(flags.common, answerer.engine(), "vqa", answering.describe(), inputs);

  std::vector<std::size_t> items =
      run.open_items(questions.size(), [&](std::size_t i) { return Json(questions[i].id); });
  // Questions about one picture stand together, so that it is encoded once.
  std::stable_sort(items.begin(), items.end(), [&](std::size_t a, std::size_t b) {
    return questions[a].image < questions[b].image;
  });
  std::vector<Question> asked;
  std::vector<std::int64_t> ids;
  run.run(
      items, flags.common.batch_size,
      [&](std::size_t i) {
        const std::string text = clean_question(questions[i].text);
        if (answerer.engine().tokenizer().encode_plain(text).empty()) {
          throw Error(ErrorCode::usage,
                      "question " + std::to_string(questions[i].id) + " has no words");
        }
        asked.push_back({run.pictures().encode(questions[i].image, run.context()), text});
        ids.push_back(questions[i].id);
      },
      [&] {
        std::vector<Json> rows;
        const std::vector<Answers> answers = answering.answer(asked, run.context());
        for (std::size_t i = 0; i < ids.size(); ++i)
          rows.push_back({{"id", ids[i]}, {"value", answers[i].answers.front().text}});
        asked.clear();
        ids.clear();
        return rows;
      });

  auto answers = run.values<std::int64_t, std::string>();
  std::vector<VqaResult> results;
  for (const VqaQuestion& question : questions) {
    if (const auto found = answers.find(question.id); found != answers.end())
      results.push_back({question.id, found->second});
  }
  write_results(flags.common.output, results);
  if (run.failed() == 0) run.journal().remove();
  return {std::move(answers), run.failed() == 0};
}

int run(const VqaEvalFlags& flags) {
  const bool runs_model = flags.common.runs_model();
  const std::vector<VqaQuestion> questions = read_vqa(inputs_of(flags));
  AnswerOf answers;
  bool complete = true;
  if (runs_model) {
    std::tie(answers, complete) = run_model(flags, questions);
  } else {
    for (VqaResult& result : read_vqa_results(flags.common.results))
      answers.emplace(result.question_id, std::move(result.answer));
  }
  const EvalReport report = score(questions, answers);
  if (report.metrics.empty() && !runs_model)
    throw Error(ErrorCode::usage, "there are no answers to score");
  publish(report, flags.common);
  return complete ? 0 : 1;
}

}  // namespace

void add_eval_vqa(CLI::App& eval, int& status) {
  CLI::App* command = eval.add_subcommand("vqa", "Answers to questions: VQA 2.0's accuracy");
  const auto flags = std::make_shared<VqaEvalFlags>();
  flags->common.add_to(*command, "VQA's [{\"question_id\", \"answer\"}]");
  flags->common.model.task = "vqa";
  command->add_option(
      "--questions", flags->questions,
      "the questions, where the annotations have the answers alone, as VQA 2.0's do");
  command->add_option(
      "--answers", flags->answers,
      "rank the answers of this file (one a line, or a .json list), as the paper "
      "does, instead of generating; --top-k (128) of them, by their first token, are scored whole");
  flags->generation.add_to(*command);
  flags->top_k = command->get_option("--top-k");
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace blip::cli
