#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "train/data/loader.h"
#include "train/model/task.h"
#include "train/run/adamw.h"
#include "train/run/checkpoint.h"
#include "train/run/configuration.h"
#include "train/run/metrics_log.h"
#include "train/run/process_group.h"
#include "train/run/progress.h"

namespace blip::train {

/// What a run works with. All of it must outlive the Trainer.
struct RunParts {
  std::string task_name;
  const Configuration& configuration;
  Task& task;
  std::shared_ptr<const Source> source;
  const Collator& collator;
  BadRecords& bad;
  ProcessGroup& group;
  torch::Device device;
  const std::atomic<bool>& stop;
  bool resume = false;  ///< go on from the newest checkpoint, if there is one
};

/// The loop: batches, losses, gradients, steps, checkpoints, the log. All that is random in a step
/// comes from a generator that is seeded by the run's seed, the step and the rank, so that a run
/// that goes on does what it would have done.
class Trainer {
 public:
  /// Throws Error{usage} for an epoch that has no whole step, for checkpoints in the output where
  /// none were to be gone on from, and where going on is not possible.
  explicit Trainer(const RunParts& parts);

  /// Trains to the end. Throws Error{cancelled} after a request to stop, once a checkpoint is
  /// there; Error{io} when a loss is no finite number, once the batch is saved, and when another
  /// process is lost.
  void run();

  std::int64_t steps() const { return steps_; }
  /// Keys of the last batch: for samples in the report.
  const std::vector<std::string>& last_keys() const { return last_keys_; }

 private:
  /// What a step gave, before it is told.
  struct StepResult {
    std::vector<std::string> names;
    torch::Tensor sums;  ///< [names + 1] f64: losses over all passes, then the wish to stop
    double norm = 0;     ///< of the gradients; 0 when they are not clipped
  };

  bool is_writer() const { return parts_.group.rank() == 0; }
  Share share() const;
  std::vector<torch::Tensor> state() const;
  void restore();
  StepResult forward_backward(Loader& loader);
  Losses losses_of(const Batch& batch, std::int64_t pass);
  void check_finite(const Batch& batch, const Losses& losses);
  bool make_step(Loader& loader);
  void log(const StepResult& result, double lr, const Loader& loader);
  void save(const Loader& loader);

  RunParts parts_;
  const OptimConfiguration& optim_;
  std::filesystem::path output_;
  Checkpoints checkpoints_;
  AdamW optimizer_;
  std::int64_t steps_per_epoch_, steps_;
  std::int64_t step_ = 0;  ///< done
  DataPosition position_;
  bool broken_ = false;  ///< a loss of this process was not finite in this step
  std::unique_ptr<MetricsLog> metrics_;
  std::unique_ptr<ProgressLine> progress_;
  std::vector<std::string> last_keys_;
  std::chrono::steady_clock::time_point began_, logged_;
  std::int64_t first_step_ = 0, logged_step_ = 0;
  double logged_waiting_ = 0;
};

}  // namespace blip::train
