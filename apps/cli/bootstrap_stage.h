#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "apps/cli/bootstrap_plan.h"

namespace blip::cli {

enum class StageState { to_do, begun, done };

/// What has become of the stages in an output folder. Beside a stage's folder lies NAME.stage.json,
/// which says what it is made from, and whether it is done.
class BootstrapStages {
 public:
  BootstrapStages(std::filesystem::path output, const std::vector<BootstrapStage>& stages)
      : output_(std::move(output)), stages_(stages) {}

  std::filesystem::path folder(std::size_t stage) const { return output_ / stages_[stage].name; }
  /// Throws Error{usage} when it was made from something else, naming what; Error{io}.
  StageState state(std::size_t stage) const;
  /// Throws what state() throws, and Error{usage} for a stage that is there though one that it is
  /// made from is not.
  void check() const;

  /// `names`, and what is made from them. Throws Error{usage} for a name that no stage has.
  std::vector<std::size_t> with_dependents(const std::vector<std::string>& names) const;
  /// Removes what a stage has made. Throws Error{io}.
  void remove(std::size_t stage) const;

  /// Throw Error{io}.
  void begin(std::size_t stage) const;
  void end(std::size_t stage) const;

 private:
  std::filesystem::path stamp(std::size_t stage) const;
  void write_stamp(std::size_t stage, bool done) const;

  std::filesystem::path output_;
  const std::vector<BootstrapStage>& stages_;
};

/// Held by the one process that works in a folder, and by the program that it started: both are
/// gone when another can take it.
class FolderLock {
 public:
  /// Waits some seconds for a program that is just ending. Throws Error{io} when the folder is in
  /// use, Error{cancelled}.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_;
};

}  // namespace blip::cli
