#include "train/run/trainer.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "blip/base/context.h"
#include "blip/base/error.h"
#include "blip/base/random.h"
#include "train/model/precision.h"
#include "train/run/schedule.h"

namespace blip::train {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::vector<torch::Tensor> trained(const Task& task) {
  std::vector<torch::Tensor> parameters;
  for (const torch::Tensor& parameter : task.parameters()) {
    if (parameter.requires_grad()) parameters.push_back(parameter);
  }
  if (parameters.empty()) {
    throw Error(ErrorCode::usage, "every parameter is frozen: there is nothing to train");
  }
  return parameters;
}

void move_to(Batch& batch, const torch::Device& device) {
  if (device.is_cpu()) return;
  for (torch::Tensor* tensor :
       {&batch.pixel_values, &batch.input_ids, &batch.attention_mask, &batch.prompt_lengths,
        &batch.image_ids, &batch.answer_ids, &batch.answer_mask, &batch.answer_counts,
        &batch.answer_weights, &batch.labels}) {
    if (tensor->defined()) *tensor = tensor->to(device, /*non_blocking=*/true);
  }
}

}  // namespace

Trainer::Trainer(const RunParts& parts)
    : parts_(parts),
      optim_(parts.configuration.optim),
      output_(parts.configuration.output),
      checkpoints_(output_ / "checkpoints", parts.configuration.run.save_keep),
      optimizer_(trained(parts.task), optim_),
      steps_per_epoch_(parts.source->size() / share().step_size()) {
  if (steps_per_epoch_ < 1) {
    throw Error(ErrorCode::usage, "an epoch has " + std::to_string(parts_.source->size()) +
                                      " records, and one step takes " +
                                      std::to_string(share().step_size()));
  }
  steps_ = optim_.epochs * steps_per_epoch_;
  if (optim_.max_steps > 0) steps_ = std::min(steps_, optim_.max_steps);
  restore();
  progress_ = std::make_unique<ProgressLine>(steps_, !is_writer());
  if (is_writer()) {
    metrics_ = std::make_unique<MetricsLog>(output_, step_, parts_.configuration.run.tensorboard);
  }
}

Share Trainer::share() const {
  return {parts_.group.rank(), parts_.group.size(), optim_.batch_size, optim_.accumulation};
}

std::vector<torch::Tensor> Trainer::state() const {
  std::vector<torch::Tensor> all = parts_.task.state();
  const std::vector<torch::Tensor> moments = optimizer_.state();
  all.insert(all.end(), moments.begin(), moments.end());
  return all;
}

void Trainer::restore() {
  const fs::path newest = checkpoints_.newest();
  if (!newest.empty() && !parts_.resume) {
    throw Error(ErrorCode::usage, output_.string() +
                                      " holds the checkpoints of a run; --resume goes on with it, "
                                      "another \"output\" starts anew");
  }
  RunState found;
  if (!newest.empty()) {
    found = Checkpoints::load(newest, state());
    if (found.task != parts_.task_name) {
      throw Error(ErrorCode::usage, newest.string() + " is of task " + in_quotes(found.task));
    }
    if (found.steps_per_epoch != steps_per_epoch_ ||
        found.seed != static_cast<std::uint64_t>(parts_.configuration.seed)) {
      throw Error(ErrorCode::usage,
                  "the run cannot go on: its seed was " + std::to_string(found.seed) +
                      " and an epoch had " + std::to_string(found.steps_per_epoch) +
                      " steps; now it is " + std::to_string(parts_.configuration.seed) + " and " +
                      std::to_string(steps_per_epoch_));
    }
    position_ = position_after(found, share(), parts_.source->order_is_global());
    step_ = found.step;
  }
  const torch::Tensor all = parts_.group.all_gather(
      torch::tensor({step_}, torch::dtype(torch::kLong).device(parts_.device)));
  if ((all != step_).any().item<bool>()) {
    throw Error(ErrorCode::io, "the processes found different checkpoints in " + output_.string() +
                                   "; it must be one folder that all of them see");
  }
}

Losses Trainer::losses_of(const Batch& batch, std::int64_t pass) {
  const auto place = static_cast<std::uint64_t>(
      (step_ * optim_.accumulation + pass) * parts_.group.size() + parts_.group.rank());
  torch::manual_seed(stream_seed(static_cast<std::uint64_t>(parts_.configuration.seed), place) >>
                     1);
  const Progress progress{step_, static_cast<double>(step_ / steps_per_epoch_), steps_per_epoch_};
  std::optional<Autocast> autocast;
  if (parts_.configuration.precision == "bf16") {
    autocast.emplace(parts_.device.type(), torch::kBFloat16);
  }
  return parts_.task.losses(batch, progress, parts_.group);
}

/// Saves the batch of a loss that is not finite. The run ends once all processes know.
void Trainer::check_finite(const Batch& batch, const Losses& losses) {
  std::map<std::string, std::string> texts;
  bool finite = true;
  for (const auto& [name, loss] : losses) {
    const auto value = loss.item<double>();
    texts[name] = std::to_string(value);
    finite = finite && std::isfinite(value);
  }
  if (finite || broken_) return;
  broken_ = true;
  std::string keys;
  for (const std::string& key : batch.keys) keys += key + "\n";
  texts["keys"] = keys;
  save_tensors(output_ / ("bad-batch-step-" + std::to_string(step_) + "-rank-" +
                          std::to_string(parts_.group.rank()) + ".safetensors"),
               {{"pixel_values", batch.pixel_values},
                {"input_ids", batch.input_ids},
                {"attention_mask", batch.attention_mask},
                {"prompt_lengths", batch.prompt_lengths},
                {"image_ids", batch.image_ids},
                {"answer_ids", batch.answer_ids},
                {"answer_mask", batch.answer_mask},
                {"answer_counts", batch.answer_counts},
                {"answer_weights", batch.answer_weights},
                {"labels", batch.labels}},
               texts);
}

Trainer::StepResult Trainer::forward_backward(Loader& loader) {
  StepResult result;
  std::vector<double> sums;
  for (std::int64_t pass = 0; pass < optim_.accumulation; ++pass) {
    Batch batch = loader.next();
    last_keys_ = batch.keys;
    move_to(batch, parts_.device);
    const Losses losses = losses_of(batch, pass);
    check_finite(batch, losses);
    torch::Tensor total;
    sums.resize(losses.size());
    result.names.clear();
    for (std::size_t i = 0; i < losses.size(); ++i) {
      result.names.push_back(losses[i].first);
      sums[i] += losses[i].second.item<double>();
      total = total.defined() ? total + losses[i].second : losses[i].second;
    }
    (total / static_cast<double>(optim_.accumulation)).backward();
  }
  for (double& sum : sums) sum /= static_cast<double>(optim_.accumulation);
  sums.push_back(parts_.stop.load() ? 1.0 : 0.0);
  result.sums = torch::tensor(sums, torch::dtype(torch::kDouble).device(parts_.device));
  parts_.group.average({result.sums});
  return result;
}

/// True when some process was asked to stop.
bool Trainer::make_step(Loader& loader) {
  const double lr = learning_rate(optim_, step_, steps_per_epoch_, steps_);
  StepResult result = forward_backward(loader);
  result.sums = result.sums.cpu();
  if (!torch::isfinite(result.sums).all().item<bool>()) {
    throw Error(ErrorCode::io, "a loss of step " + std::to_string(step_) +
                                   " is no finite number; the batch is in " + output_.string() +
                                   "/bad-batch-step-" + std::to_string(step_) +
                                   "-rank-*.safetensors, the last checkpoint is whole");
  }
  std::vector<torch::Tensor> grads;
  for (const torch::Tensor& parameter : optimizer_.parameters()) {
    if (parameter.grad().defined()) grads.push_back(parameter.grad());
  }
  parts_.group.average(grads);
  if (optim_.clip > 0) result.norm = optimizer_.clip(optim_.clip);
  if (!std::isfinite(result.norm)) {
    throw Error(ErrorCode::io, "the gradients of step " + std::to_string(step_) +
                                   " are no finite numbers; the last checkpoint is whole");
  }
  optimizer_.step(lr);
  optimizer_.zero_grad();
  parts_.task.after_step();
  ++step_;
  if (step_ % parts_.configuration.run.log_every == 0 || step_ == steps_) log(result, lr, loader);
  return result.sums[-1].item<double>() > 0;
}

void Trainer::log(const StepResult& result, double lr, const Loader& loader) {
  if (!is_writer()) return;
  const double seconds = std::max(seconds_since(logged_), 1e-9);
  const auto done = static_cast<double>(step_ - logged_step_);
  Values values = {{"epoch", static_cast<double>(step_) / static_cast<double>(steps_per_epoch_)}};
  double total = 0;
  Values losses;
  for (std::size_t i = 0; i < result.names.size(); ++i) {
    const auto value = result.sums[static_cast<std::int64_t>(i)].item<double>();
    losses.emplace_back(result.names[i], value);
    total += value;
  }
  if (losses.size() != 1) values.insert(values.end(), losses.begin(), losses.end());
  values.emplace_back("loss", total);
  values.emplace_back("lr", lr);
  if (optim_.clip > 0) values.emplace_back("grad_norm", result.norm);
  values.emplace_back("pictures_per_second",
                      done * static_cast<double>(share().step_size()) / seconds);
  values.emplace_back("waiting", (loader.seconds_waited() - logged_waiting_) / seconds);
  values.emplace_back("bad_records", static_cast<double>(parts_.bad.count()));
  metrics_->add(step_, values);
  const double per_step = seconds_since(began_) / static_cast<double>(step_ - first_step_);
  progress_->update(step_, values, per_step * static_cast<double>(steps_ - step_));
  logged_ = Clock::now();
  logged_step_ = step_;
  logged_waiting_ = loader.seconds_waited();
}

void Trainer::save(const Loader& loader) {
  const DataPosition& at = loader.position();
  const torch::Tensor all =
      parts_.group
          .all_gather(torch::tensor({{at.epoch, at.batches, at.taken}},
                                    torch::dtype(torch::kLong).device(parts_.device)))
          .cpu();
  if (!is_writer()) return;
  RunState run{parts_.task_name,
               step_,
               steps_per_epoch_,
               share().step_size(),
               static_cast<std::uint64_t>(parts_.configuration.seed),
               {}};
  for (std::int64_t rank = 0; rank < all.size(0); ++rank) {
    const auto value = [&](int i) { return all[rank][i].item<std::int64_t>(); };
    run.positions.push_back({value(0), value(1), value(2)});
  }
  checkpoints_.save(run, state());
}

void Trainer::run() {
  const RunConfiguration& how = parts_.configuration.run;
  parts_.task.train();
  if (step_ > 0) progress_->say("going on after step " + std::to_string(step_));
  if (step_ >= steps_) return;
  Loader::Options options;
  options.augmentation = parts_.configuration.augment;
  options.batch_size = optim_.batch_size;
  options.batches_per_epoch = steps_per_epoch_ * optim_.accumulation;
  options.prefetch = parts_.configuration.data.prefetch;
  options.threads = static_cast<int>(parts_.configuration.data.threads);
  if (options.threads == 0) options.threads = available_cores();
  Loader loader(parts_.source, parts_.collator, options, parts_.bad, position_);
  began_ = logged_ = Clock::now();
  first_step_ = logged_step_ = step_;
  std::int64_t saved = step_;
  while (step_ < steps_) {
    const bool stop = make_step(loader);
    const bool due = how.save_every_steps > 0 && step_ % how.save_every_steps == 0;
    if (stop || due || step_ == steps_) {
      save(loader);
      saved = step_;
    }
    if (stop && step_ < steps_) {
      throw Error(ErrorCode::cancelled,
                  "stopped after step " + std::to_string(saved) + "; --resume goes on from there");
    }
  }
}

}  // namespace blip::train
