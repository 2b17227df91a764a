#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "train/model/task.h"

namespace blip::train {

/// The processes that train together. One process alone has one too. Every call but rank() and
/// size() must be made by all ranks in the same order, with tensors of one shape and type. Throws
/// Error{io} when another process is lost or does not answer in time.
class ProcessGroup : public Communicator {
 public:
  /// Means over all ranks, in place; small tensors travel together.
  virtual void average(const std::vector<torch::Tensor>& tensors) = 0;
};

/// Where this process stands among the others, by the environment: RANK, WORLD_SIZE and LOCAL_RANK
/// (torchrun, Kubernetes), or what srun and mpirun set, where MASTER_ADDR is set.
struct Rendezvous {
  std::int64_t rank = 0, size = 1, local_rank = 0;
  std::string host;
  std::uint16_t port = 0;

  /// Throws Error{usage} for a variable that is missing or no number.
  static Rendezvous from_environment();
};

/// Waits until all processes are there. `backend`: "gloo", "nccl", or "auto".
/// Throws Error{io} when they do not come in time, Error{unsupported} for a backend that this build
/// lacks.
std::shared_ptr<ProcessGroup> join(const Rendezvous& rendezvous, const std::string& backend,
                                   const torch::Device& device, std::int64_t timeout_seconds);

}  // namespace blip::train
