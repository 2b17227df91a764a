#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/commands.h"
#include "apps/cli/flags.h"
#include "apps/cli/picture_rows.h"
#include "apps/cli/stop.h"
#include "apps/cli/text_flags.h"
#include "apps/findings/findings.h"
#include "blip/base/error.h"
#include "blip/tasks/vqa.h"

namespace blip::cli {
namespace {

const std::map<std::string, FirstToken> kFirstTokens = {
    {"checkpoint", FirstToken::checkpoint}, {"cls", FirstToken::cls}, {"enc", FirstToken::enc}};

struct VqaFlags {
  PictureFlags pictures;
  TextFlags questions;
  QuestionOptions question;
  GenerationFlags generation;
  std::string answers;
  CLI::Option* top_k = nullptr;  ///< of the generation flags: its second meaning here
  int num_answers = 0;           ///< 0: not given
  Format format = Format::text;
};

/// Answers the questions about a batch of pictures, in one way or the other.
using Answerer = std::function<std::vector<Answers>(std::span<const Question>)>;

Answerer generator(const VqaFlags& flags, const QuestionAnswerer& answerer) {
  AnswerOptions options = answerer.default_options();
  options.question = flags.question;
  flags.generation.apply_to(options.generation);
  if (flags.num_answers > 0) {
    options.generation.num_return_sequences = flags.num_answers;
    if (!options.generation.do_sample)
      options.generation.num_beams = std::max(options.generation.num_beams, flags.num_answers);
  }
  answerer.validate(options);
  return [&flags, &answerer, options](std::span<const Question> questions) {
    return answerer.answer(questions, options, flags.pictures.context());
  };
}

Answerer ranker(const VqaFlags& flags, const QuestionAnswerer& answerer) {
  const AnswerList list = answerer.encode_answers(read_texts(flags.answers));
  RankOptions options{flags.question};
  if (flags.top_k->count() > 0) options.top_k = flags.top_k->as<int>();
  const auto wanted = static_cast<std::size_t>(std::max(flags.num_answers, 1));
  return [&flags, &answerer, list, options, wanted](std::span<const Question> questions) {
    std::vector<Answers> all = answerer.rank(questions, list, options, flags.pictures.context());
    for (Answers& one : all) one.answers.resize(std::min(one.answers.size(), wanted));
    return all;
  };
}

/// Text: the question where there are several, the answer, its probability where there are several.
void fill(Row& row, std::span<const std::string> questions, std::span<const Answers> all) {
  Json json = Json::array();
  for (std::size_t i = 0; i < questions.size(); ++i) {
    for (const Answer& answer : all[i].answers) {
      std::string line = questions.size() > 1 ? questions[i] + "\t" + answer.text : answer.text;
      if (all[i].answers.size() > 1) {
        char probability[32];
        std::snprintf(probability, sizeof probability, "\t%.4g", answer.probability);
        line += probability;
      }
      row.lines.push_back(std::move(line));
    }
    json.push_back(findings::to_json(questions[i], all[i]));
  }
  row.findings["questions"] = std::move(json);
}

int run(const VqaFlags& flags) {
  install_stop_handler();
  const std::vector<std::string> texts = flags.questions.read();
  const std::vector<PictureInput> inputs = flags.pictures.inputs();
  const ModelFlags& model = flags.pictures.model;
  const QuestionAnswerer answerer(model.load());
  answerer.validate(texts, flags.question);
  const Answerer answer =
      flags.answers.empty() ? generator(flags, answerer) : ranker(flags, answerer);
  return write_rows(flags.pictures, inputs, answerer.engine(), flags.format,
                    [&](std::span<PictureRow* const> rows) {
                      std::vector<Question> questions;
                      for (const PictureRow* row : rows) {
                        for (const std::string& text : texts)
                          questions.push_back({row->image, text});
                      }
                      const std::vector<Answers> all = answer(questions);
                      for (std::size_t i = 0; i < rows.size(); ++i)
                        fill(*rows[i], texts,
                             std::span(all).subspan(i * texts.size(), texts.size()));
                    });
}

/// Throws Error{usage} for options that have no effect when answers are ranked.
void check(const VqaFlags& flags, const CLI::App& command) {
  if (flags.answers.empty()) return;
  const auto given = command.get_options([&](const CLI::Option* option) {
    return option->get_group() == "Generation" && option->count() > 0 && option != flags.top_k;
  });
  if (!given.empty()) {
    throw Error(ErrorCode::usage, given.front()->get_name() +
                                      " has no effect together with --answers, which ranks a list");
  }
}

}  // namespace

void add_vqa_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand("vqa", "Answer questions about each picture");
  const auto flags = std::make_shared<VqaFlags>();
  flags->pictures.add_to(*command);
  flags->pictures.model.task = "vqa";
  flags->questions.add_to(*command, "question", "questions", "what to ask");
  command->add_option("--answers", flags->answers,
                      "choose from the answers in this file (one in each line, or a .json array of "
                      "strings) by their likelihood, instead of writing one");
  command
      ->add_option("--num-answers", flags->num_answers,
                   "answers to each question, best first (default: 1; without --answers, by at "
                   "least as many beams)")
      ->check(CLI::Range(1, 1024));
  command
      ->add_option("--question-token", flags->question.first_token,
                   "what stands before a question: cls as transformers has it, enc as the authors "
                   "have it, or what the checkpoint's own code takes (default)")
      ->transform(CLI::CheckedTransformer(kFirstTokens).description("{checkpoint,cls,enc}"));
  command
      ->add_option("--max-text-length", flags->question.max_length,
                   "tokens that longer questions are cut to; 0: as many as the model can read")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--reference-mask", flags->question.reference_mask,
                    "let answers see the padding that a batch of these questions has in the "
                    "reference implementations");
  add_format_flag(*command, flags->format);
  flags->generation.add_to(*command);
  flags->top_k = command->get_option("--top-k");
  flags->top_k->description(
      "with --answers: so many, by the probability of their first token, are compared whole "
      "(default 128); else " +
      flags->top_k->get_description());
  command->callback([flags, command, &status] {
    check(*flags, *command);
    status = run(*flags);
  });
}

}  // namespace blip::cli
