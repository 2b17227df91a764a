#include "apps/cli/bootstrap_stage.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <thread>

#include "apps/cli/stop.h"
#include "blip/base/error.h"
#include "blip/base/file.h"

namespace blip::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kPause{50};
constexpr std::chrono::seconds kPatience{30};  // a step of training may still end

std::string value_or_none(const Json& json, const std::string& key) {
  if (!json.is_object() || !json.contains(key)) return "unset";
  return json[key].is_string() ? json[key].get<std::string>() : dump(json[key]);
}

/// "optim.lr is 0.1, but was 0.2", of the first key that differs; empty: none.
std::string difference(const Json& was, const Json& is) {
  const auto of = [&](const std::string& key) {
    if (key == "noisy" || key == "clean") return "the " + key + " pairs have changed";
    return key + " is " + value_or_none(is, key) + ", but was " + value_or_none(was, key);
  };
  for (const auto& [key, value] : is.items()) {
    if (!was.is_object() || !was.contains(key) || was[key] != value) return of(key);
  }
  for (const auto& [key, value] : was.items()) {
    if (!is.contains(key)) return of(key);
  }
  return "";
}

}  // namespace

fs::path BootstrapStages::stamp(std::size_t stage) const {
  return output_ / (stages_[stage].name + ".stage.json");
}

StageState BootstrapStages::state(std::size_t stage) const {
  std::error_code ignored;
  const fs::path file = stamp(stage);
  if (!fs::exists(file, ignored)) return StageState::to_do;
  Json json;
  try {
    json = read_json(file);
  } catch (const Error& e) {
    throw Error(ErrorCode::io, e.what());  // it is no model
  }
  const bool whole = json.is_object() && json.contains("made_from") && json.contains("done") &&
                     json["done"].is_boolean();
  if (!whole) throw Error(ErrorCode::io, file.string() + " is not what this command writes");
  const std::string differs = difference(json["made_from"], stages_[stage].made_from);
  if (!differs.empty()) {
    const std::string& name = stages_[stage].name;
    throw Error(ErrorCode::usage, name + " was made otherwise: " + differs +
                                      "; give what it was, or --redo " + name +
                                      " to make it and what follows from it anew");
  }
  return json["done"].get<bool>() ? StageState::done : StageState::begun;
}

void BootstrapStages::check() const {
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    if (state(i) == StageState::to_do) continue;
    for (const std::size_t base : stages_[i].after) {
      if (state(base) == StageState::done) continue;
      throw Error(ErrorCode::usage, stages_[i].name + " is there, but not " + stages_[base].name +
                                        ", which it was made from; --redo " + stages_[base].name +
                                        " makes both anew");
    }
  }
}

std::vector<std::size_t> BootstrapStages::with_dependents(
    const std::vector<std::string>& names) const {
  for (const std::string& name : names) {
    const auto same = [&](const BootstrapStage& stage) { return stage.name == name; };
    if (std::any_of(stages_.begin(), stages_.end(), same)) continue;
    std::string all;
    for (const BootstrapStage& stage : stages_) all += (all.empty() ? "" : ", ") + stage.name;
    throw Error(ErrorCode::usage, "there is no stage " + in_quotes(name) + "; there are: " + all);
  }
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    const auto is_chosen = [&](std::size_t base) {
      return std::find(chosen.begin(), chosen.end(), base) != chosen.end();
    };
    const bool named = std::find(names.begin(), names.end(), stages_[i].name) != names.end();
    const auto& after = stages_[i].after;
    if (named || std::any_of(after.begin(), after.end(), is_chosen)) chosen.push_back(i);
  }
  return chosen;
}

void BootstrapStages::remove(std::size_t stage) const {
  std::error_code error;
  // The stamp last: until then the stage counts as there, and is removed by another --redo.
  fs::remove_all(folder(stage), error);
  if (!error) fs::remove(stamp(stage), error);
  if (error)
    throw Error(ErrorCode::io, "cannot remove " + folder(stage).string() + ": " + error.message());
}

void BootstrapStages::begin(std::size_t stage) const {
  std::error_code error;
  // CapFilt's result is a file of the folder, which must be there.
  fs::create_directories(folder(stage), error);
  if (error)
    throw Error(ErrorCode::io, "cannot create " + folder(stage).string() + ": " + error.message());
  write_stamp(stage, false);
}

void BootstrapStages::end(std::size_t stage) const {
  write_stamp(stage, true);
}

void BootstrapStages::write_stamp(std::size_t stage, bool done) const {
  const Json json = {
      {"task", stages_[stage].task}, {"done", done}, {"made_from", stages_[stage].made_from}};
  write_file(stamp(stage), [&](std::ostream& out) { out << dump(json, 2) << '\n'; });
}

FolderLock::FolderLock(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  const fs::path file = folder / ".lock";
  // Not O_CLOEXEC: a program that outlives this process keeps the lock.
  descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT, 0666);
  if (descriptor_ < 0)
    throw Error(ErrorCode::io, "cannot write " + file.string() + ": " + std::strerror(errno));
  const auto end = std::chrono::steady_clock::now() + kPatience;
  // Where the file system has no locks, there is none to wait for.
  while (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    const bool stop = stop_requested();
    if (!stop && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(kPause);
      continue;
    }
    ::close(descriptor_);
    if (stop) throw Error(ErrorCode::cancelled, "stopped on request");
    throw Error(ErrorCode::io, "another blip bootstrap is at work in " + folder.string());
  }
}

FolderLock::~FolderLock() {
  ::close(descriptor_);
}

}  // namespace blip::cli
