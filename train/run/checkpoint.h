#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "train/data/loader.h"

namespace blip::train {

/// Where a run stands, beside its tensors.
struct RunState {
  std::string task;
  std::int64_t step = 0;  ///< steps done
  std::int64_t steps_per_epoch = 0;
  std::int64_t step_size = 0;  ///< records that a step takes, over all processes
  std::uint64_t seed = 0;
  std::vector<DataPosition> positions;  ///< of each rank
};

/// Checkpoints of a run: FOLDER/step-00001000.safetensors, each whole or not there. One file holds
/// the tensors and the run's state.
class Checkpoints {
 public:
  Checkpoints(std::filesystem::path folder, std::int64_t keep)
      : folder_(std::move(folder)), keep_(keep) {}

  /// Writes one under a temporary name, brings it to the disk, renames it, and then removes those
  /// beyond the last `keep`. Throws Error{io}; what was there before is whole then.
  void save(const RunState& state, const std::vector<torch::Tensor>& tensors) const;

  /// The newest; empty when there is none.
  std::filesystem::path newest() const;

  /// Copies a checkpoint's tensors into `tensors`, whose shapes and types must be the same.
  /// Throws Error{io, bad_model}, Error{usage} for one of another model.
  static RunState load(const std::filesystem::path& file,
                       const std::vector<torch::Tensor>& tensors);

 private:
  std::vector<std::filesystem::path> all() const;

  std::filesystem::path folder_;
  std::int64_t keep_;
};

/// Where a process goes on that takes `share` of every step. The number of processes and their
/// batches may differ from those that wrote the checkpoint if the order of the records stays the
/// same. Throws Error{usage} with the reason where it does not.
DataPosition position_after(const RunState& state, const Share& share, bool order_is_global);

/// Tensors as a file of their own, with texts: for a batch that is to be looked at.
/// Throws Error{io}.
void save_tensors(const std::filesystem::path& file,
                  const std::vector<std::pair<std::string, torch::Tensor>>& tensors,
                  const std::map<std::string, std::string>& texts);

}  // namespace blip::train
