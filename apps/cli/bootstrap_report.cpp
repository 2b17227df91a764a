#include "apps/cli/bootstrap_report.h"

#include <cstdint>
#include <cstdio>
#include <string_view>

#include "blip/base/error.h"
#include "blip/base/file.h"

namespace blip::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxMetrics = std::size_t{1} << 30;

/// The last whole line of the trainer's metrics.
Json last_losses(const fs::path& folder) {
  const fs::path file = folder / "metrics.jsonl";
  std::string text = read_file(file, kMaxMetrics);
  text.erase(text.find_last_not_of('\n') + 1);
  Json last = {{"step", 0}, {"losses", Json::object()}};
  if (text.empty()) return last;
  const Json line = parse_json(std::string_view(text).substr(text.rfind('\n') + 1), file.string());
  for (const auto& [key, value] : line.items()) {
    if (key == "step") last["step"] = value;
    if (key.starts_with("loss")) last["losses"][key] = value;
  }
  return last;
}

Json books(const fs::path& folder) {
  const Json all = read_json(pairs_statistics(folder));
  Json found = {{"records", all.at("records")}, {"texts", Json::object()}};
  for (const char* origin : {"web", "synthetic"}) {
    const Json& texts = all.at("texts").at(origin);
    found["texts"][origin] = {{"count", texts.at("count")}, {"kept", texts.at("kept")}};
  }
  return found;
}

std::string share(const Json& texts) {
  const auto count = texts.at("count").get<std::int64_t>();
  if (count == 0) return "none";
  char words[64];
  std::snprintf(words, sizeof words, "%.1f %% of %lld",
                100.0 * static_cast<double>(texts.at("kept").get<std::int64_t>()) /
                    static_cast<double>(count),
                static_cast<long long>(count));
  return words;
}

std::string of_losses(const Json& stage) {
  std::string words = "step " + dump(stage.at("step"));
  for (const auto& [name, value] : stage.at("losses").items()) {
    char number[48];
    if (!value.is_number()) continue;
    std::snprintf(number, sizeof number, " %.4g", value.get<double>());
    words += ", " + name + number;
  }
  return words;
}

std::string of_books(const Json& stage) {
  const Json& records = stage.at("records");
  return dump(records.at("kept")) + " of " + dump(records.at("in")) + " records kept, " +
         dump(records.at("failed")) + " failed; texts kept: web " +
         share(stage.at("texts").at("web")) + ", synthetic " +
         share(stage.at("texts").at("synthetic"));
}

}  // namespace

fs::path pairs_statistics(const fs::path& folder) {
  std::error_code ignored;
  const fs::path inside = folder / "pairs" / "_stats.json";
  return fs::exists(inside, ignored) ? inside : folder / "pairs_stats.json";
}

Json bootstrap_report(const BootstrapStages& stages, const std::vector<BootstrapStage>& plan) {
  Json report = {{"model", (stages.folder(plan.size() - 1) / "model").string()},
                 {"stages", Json::array()}};
  for (std::size_t i = 0; i < plan.size(); ++i) {
    Json stage = {{"stage", plan[i].name}, {"task", plan[i].task}};
    try {
      stage.update(plan[i].task == "capfilt" ? books(stages.folder(i))
                                             : last_losses(stages.folder(i)));
    } catch (const Json::exception& e) {
      throw Error(ErrorCode::io, plan[i].name + " is not what its program writes: " + e.what());
    } catch (const Error& e) {
      throw Error(ErrorCode::io, e.what());  // it is no model
    }
    report["stages"].push_back(std::move(stage));
  }
  return report;
}

std::string bootstrap_table(const Json& report) {
  std::string table;
  for (const Json& stage : report.at("stages")) {
    char name[64];
    std::snprintf(name, sizeof name, "%-18s", stage.at("stage").get<std::string>().c_str());
    table += name + (stage.contains("losses") ? of_losses(stage) : of_books(stage)) + "\n";
  }
  return table + "the model is in " + report.at("model").get<std::string>() + "\n";
}

}  // namespace blip::cli
