#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "apps/cli/eval_journal.h"
#include "apps/cli/eval_pictures.h"
#include "apps/cli/eval_report.h"
#include "apps/cli/flags.h"

namespace blip::cli {

/// The flags that every evaluation has.
struct EvalFlags {
  std::string annotations;
  std::string results;
  std::string images;
  std::string output;
  std::string metrics;
  std::size_t batch_size = 8;
  Format format = Format::text;
  ModelFlags model;
  ImageFlags image;

  /// `form` names the results' file form in the help.
  void add_to(CLI::App& command, const std::string& form);
  /// Whether the model runs, rather than a file of results being scored.
  /// Throws Error{usage} when that is not clear.
  bool runs_model() const;
};

/// A model over a set of pictures, with a journal beside the output.
class EvalRun {
 public:
  /// `options` and `inputs` (annotation files) are what, with the model, makes it the same run.
  /// Throws what Engine::load() and EvalJournal throw.
  EvalRun(const EvalFlags& flags, Engine engine, const std::string& task, const Json& options,
          std::span<const std::filesystem::path> inputs);

  EvalJournal& journal() { return journal_; }
  EvalPictures& pictures() { return pictures_; }
  const Context& context() const { return context_; }

  /// Those of `count` items whose id no row of {"id", "value"} has.
  std::vector<std::size_t> open_items(std::size_t count,
                                      const std::function<Json(std::size_t item)>& id_of) const;

  /// Does the work on `items`, `batch` at a time: `prepare` each, whose blip::Error makes it a
  /// failure that is reported and left out, then `answer` those that were prepared, which gives a
  /// row for each. Throws Error{cancelled}; what was answered is in the journal.
  void run(std::span<const std::size_t> items, std::size_t batch,
           const std::function<void(std::size_t item)>& prepare,
           const std::function<std::vector<Json>()>& answer);

  std::size_t failed() const { return failed_; }
  /// Goes through what the journal holds: rows of earlier runs, then of this.
  /// Throws Error{io} when `take` meets a row that is not in the form it expects.
  void for_each_row(const std::function<void(const Json&)>& take) const;

  /// The same, for rows of {"id", "value"}: one for each item that is done.
  template <class Id, class Value>
  std::unordered_map<Id, Value> values() const {
    std::unordered_map<Id, Value> values;
    for_each_row([&](const Json& row) {
      values.emplace(row.at("id").get<Id>(), row.at("value").get<Value>());
    });
    return values;
  }

 private:
  std::string journal_name_;
  Context context_;
  EvalPictures pictures_;
  EvalJournal journal_;
  std::vector<Json> rows_;
  std::size_t failed_ = 0;
};

/// For a run's options.
Json to_json(const GenerationConfig& generation);

/// Prints the report, writes it where --metrics says.
void publish(const EvalReport& report, const EvalFlags& flags);

void add_eval_caption(CLI::App& eval, int& status);
void add_eval_retrieval(CLI::App& eval, int& status);
void add_eval_vqa(CLI::App& eval, int& status);
void add_eval_nlvr(CLI::App& eval, int& status);

}  // namespace blip::cli
