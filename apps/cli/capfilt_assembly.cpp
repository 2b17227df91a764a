#include "apps/cli/capfilt_assembly.h"

#include <fstream>
#include <functional>
#include <system_error>

#include "apps/cli/capfilt_page.h"
#include "apps/cli/capfilt_samples.h"
#include "apps/cli/part_journal.h"
#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/tasks/capfilt_json.h"

namespace blip::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSamples = 24;  ///< of each group, on the page

Json read_own(const fs::path& file) {
  try {
    return read_json(file);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::bad_model) throw;
    throw Error(ErrorCode::io, e.what());  // it is no model
  }
}

/// Throws Error{usage} naming the first key in which two runs differ.
void require_same(const Json& there, const Json& run, const fs::path& file) {
  if (there == run) return;
  for (const auto& [key, value] : run.items()) {
    if (there.is_object() && there.contains(key) && there[key] == value) continue;
    throw Error(ErrorCode::usage, file.string() + " is of a run with another " + in_quotes(key) +
                                      "; delete it to begin anew, or name another output");
  }
  throw Error(ErrorCode::usage, file.string() + " is of another run");
}

fs::path run_file(const CapFiltPlan& plan) {
  return plan.folder() / "_run.json";
}

/// Calls `take` for each row of each part, in order.
void for_each_record(const CapFiltPlan& plan, const Context& context,
                     const std::function<void(const CapFiltPart&, const Json&)>& take) {
  for (const CapFiltPart& part : plan.parts()) {
    context.check_stop();
    const fs::path file = plan.file_of(part, "_records.jsonl");
    std::ifstream in(file, std::ios::binary);
    for (std::string line; std::getline(in, line);) take(part, parse_json(line, file.string()));
    if (!in.eof()) throw Error(ErrorCode::io, "cannot read " + file.string());
  }
}

class Assembly {
 public:
  Assembly(const CapFiltPlan& plan, const Json& run, const Context& context)
      : plan_(plan), run_(run), context_(context), samples_(kSamples) {}

  CapFiltStatistics make() {
    add_up();
    if (!plan_.parts_stay()) write_records();
    if (plan_.output() == PairOutput::lines) write_lines();
    if (plan_.output() == PairOutput::coco) write_coco();
    Json statistics = {{"run", run_}, {"parts", plan_.parts().size()}};
    statistics.update(to_json(statistics_));
    if (!damaged_.empty()) statistics["damaged"] = damaged_;
    write(plan_.total("report.html"), [&](std::ostream& out) {
      out << capfilt_page(statistics, statistics_, samples_.to_json());
    });
    // Last: they say that the rest is there.
    write(plan_.total("stats.json"),
          [&](std::ostream& out) { out << dump(statistics, 1) << '\n'; });
    return statistics_;
  }

 private:
  void write(const fs::path& file, const std::function<void(std::ostream&)>& content) {
    write_file_as(file, plan_.folder() / "_assembly.part", content);
  }

  void add_up() {
    for (const CapFiltPart& part : plan_.parts()) {
      context_.check_stop();
      const fs::path file = plan_.file_of(part, "_stats.json");
      const Json json = read_own(file);
      statistics_.add(capfilt_statistics_from_json(json, file.string()));
      if (json.contains("samples")) samples_.merge(json["samples"]);
      if (json.contains("damaged"))
        damaged_.push_back({{"part", part.name}, {"reason", json["damaged"]}});
    }
    statistics_.require_balance(plan_.out().string());
  }

  void write_records() {
    std::int64_t rows = 0;
    write(plan_.total("records.jsonl"), [&](std::ostream& out) {
      for_each_record(plan_, context_, [&](const CapFiltPart&, const Json& row) {
        out << dump(row) << '\n';
        ++rows;
      });
    });
    if (rows == statistics_.records_in) return;
    throw Error(ErrorCode::internal,
                "the books of " + plan_.out().string() +
                    " do not balance: " + std::to_string(statistics_.records_in) +
                    " records came in, but " + std::to_string(rows) + " are written");
  }

  /// Kept records with their texts.
  void for_each_kept(const std::function<void(const std::string& name, const Json& row,
                                              const std::vector<std::string>& texts)>& take) {
    for_each_record(plan_, context_, [&](const CapFiltPart& part, const Json& row) {
      const CapFiltRecord record = capfilt_record_from_json(row, part.name);
      if (record.verdict() == CapFiltVerdict::kept)
        take(plan_.name_in_out(part, record.key), row, record.kept_texts());
    });
  }

  void write_lines() {
    write(plan_.out(), [&](std::ostream& out) {
      for_each_kept([&](const std::string& name, const Json&, const auto& texts) {
        out << dump({{"image", name}, {"caption", texts}}) << '\n';
      });
    });
  }

  /// Ids are the source's where there is but one that states them; else pictures are numbered.
  void write_coco() {
    const bool stated =
        plan_.sources() == 1 && plan_.source(plan_.parts().front()).kind() == PairKind::list;
    const auto id_of = [&](const Json& row, std::int64_t number) {
      return stated && row.contains("id") ? row["id"].get<std::int64_t>() : number;
    };
    write(plan_.out(), [&](std::ostream& out) {
      std::int64_t number = 0, text_number = 0;
      out << "{\"images\": [";
      for_each_kept([&](const std::string& name, const Json& row, const auto&) {
        out << (number == 0 ? "\n" : ",\n")
            << dump({{"id", id_of(row, number)}, {"file_name", name}});
        ++number;
      });
      out << "\n],\n\"annotations\": [";
      number = 0;
      for_each_kept([&](const std::string&, const Json& row, const auto& texts) {
        const std::int64_t id = id_of(row, number++);
        for (const std::string& text : texts) {
          out << (text_number == 0 ? "\n" : ",\n")
              << dump({{"id", text_number}, {"image_id", id}, {"caption", text}});
          ++text_number;
        }
      });
      out << "\n]}\n";
    });
  }

  const CapFiltPlan& plan_;
  const Json& run_;
  const Context& context_;
  CapFiltStatistics statistics_;
  CapFiltSamples samples_;
  Json damaged_ = Json::array();
};

/// Throws Error{usage} where `out` has what no job of this kind left there.
void require_free(const CapFiltPlan& plan) {
  std::error_code ignored;
  const fs::path& out = plan.out();
  bool taken = fs::exists(out, ignored) && !fs::is_directory(out, ignored);
  // Another worker may have begun: with what starts with _ or a dot.
  for (const fs::directory_entry& entry : fs::directory_iterator(out, ignored)) {
    const std::string name = entry.path().filename().string();
    taken = taken || (!name.starts_with('_') && !name.starts_with('.'));
  }
  if (!taken) return;
  throw Error(ErrorCode::usage, out.string() +
                                    " holds something else already; delete it, or name "
                                    "another output");
}

}  // namespace

bool was_assembled(const CapFiltPlan& plan, const Json& run) {
  const fs::path statistics = plan.total("stats.json");
  std::error_code ignored;
  if (plan.parts_stay() || !fs::exists(statistics, ignored)) return false;
  const Json there = read_own(statistics);
  require_same(there.is_object() && there.contains("run") ? there["run"] : Json(), run, statistics);
  fs::remove_all(plan.folder(), ignored);
  return true;
}

void begin_parts(const CapFiltPlan& plan, const Json& run) {
  std::error_code error;
  if (!fs::exists(run_file(plan), error)) require_free(plan);
  fs::create_directories(plan.folder(), error);
  if (error) {
    throw Error(ErrorCode::io,
                "cannot make the folder " + plan.folder().string() + ": " + error.message());
  }
  if (fs::exists(run_file(plan), error)) {
    require_same(read_own(run_file(plan)), run, run_file(plan));
  } else {
    write_file(run_file(plan), [&](std::ostream& out) { out << dump(run, 1) << '\n'; });
  }
}

std::optional<CapFiltStatistics> assemble(const CapFiltPlan& plan, const Json& run,
                                          const Context& context) {
  std::error_code ignored;
  for (const CapFiltPart& part : plan.parts()) {
    if (!fs::exists(plan.file_of(part, "_stats.json"), ignored)) return std::nullopt;
  }
  PartLock lock(plan.folder() / "_assembly.lock");
  if (!lock.held()) return std::nullopt;
  // Another worker may have been through between the look and the lock.
  if (!plan.parts_stay() && fs::exists(plan.total("stats.json"), ignored)) return std::nullopt;
  const CapFiltStatistics statistics = Assembly(plan, run, context).make();
  if (plan.parts_stay()) {
    lock.remove();
  } else {
    fs::remove_all(plan.folder(), ignored);
  }
  return statistics;
}

}  // namespace blip::cli
