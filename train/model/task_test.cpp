#include "train/model/task.h"

#include <gtest/gtest.h>

#include <barrier>
#include <thread>

#include "blip/base/error.h"
#include "train/model/image_text_task.h"
#include "train/model/precision.h"
#include "train/model/tiny_task_test.h"

namespace blip::train {
namespace {

using testing::sum_of;
using testing::tiny_batch;
using testing::tiny_options;
using torch::Tensor;

constexpr const char* kTasks[] = {"pretrain", "caption", "retrieval", "vqa", "nlvr"};

Batch batch_for(const std::string& name, std::uint64_t seed = 1) {
  return tiny_batch(4, seed, name == "nlvr" ? 8 : 4);
}

/// Gradients by parameter, undefined where there are none.
std::vector<Tensor> gradients_of(Task& task, const Batch& batch) {
  SingleProcess alone;
  torch::manual_seed(11);  // of dropout
  sum_of(task.losses(batch, {}, alone)).backward();
  std::vector<Tensor> gradients;
  for (const Tensor& parameter : task.parameters()) gradients.push_back(parameter.grad());
  return gradients;
}

std::shared_ptr<Task> seeded(const std::string& name, const TaskOptions& options) {
  torch::manual_seed(2);
  return make_task(name, options);
}

TEST(Task, LearnsABatchByHeart) {
  for (const std::string name : kTasks) {
    const auto task = seeded(name, tiny_options());
    torch::optim::AdamW optimizer(task->parameters(), torch::optim::AdamWOptions(3e-3));
    SingleProcess alone;
    const Batch batch = batch_for(name);
    float first = 0, last = 0;
    for (std::int64_t step = 0; step < 60; ++step) {
      optimizer.zero_grad();
      const Tensor loss = sum_of(task->losses(batch, {step, 0, 100}, alone));
      loss.backward();
      optimizer.step();
      task->after_step();
      last = loss.item<float>();
      if (step == 0) first = last;
    }
    EXPECT_LT(last, 0.8 * first) << name;
  }
}

TEST(Task, RecomputedLayersHaveTheSameGradients) {
  for (const std::string name : kTasks) {
    TaskOptions options = tiny_options();
    options.dropout = 0.2;
    options.drop_path = 0.3;
    const Batch batch = batch_for(name);
    const auto plain = gradients_of(*seeded(name, options), batch);
    options.vision_checkpoint_layers = options.text_checkpoint_layers = 2;
    const auto again = gradients_of(*seeded(name, options), batch);
    ASSERT_EQ(plain.size(), again.size());
    for (std::size_t i = 0; i < plain.size(); ++i) {
      ASSERT_EQ(plain[i].defined(), again[i].defined()) << name << ", parameter " << i;
      if (!plain[i].defined()) continue;
      EXPECT_TRUE(plain[i].allclose(again[i], 1e-4, 1e-7)) << name << ", parameter " << i;
    }
  }
}

TEST(Task, RecomputedLayersTrainThoughTheirInputIsFrozen) {
  TaskOptions options = tiny_options();
  options.vision_checkpoint_layers = 2;
  options.frozen = {"vision_model.embeddings."};
  const auto task = seeded("caption", options);
  gradients_of(*task, batch_for("caption"));
  for (const auto& parameter : task->named_parameters()) {
    const bool frozen = parameter.key().starts_with("vision_model.embeddings.");
    EXPECT_EQ(parameter.value().grad().defined(), !frozen) << parameter.key();
  }
}

TEST(Task, IsNearF32UnderAutocast) {
  for (const std::string name : kTasks) {
    const auto task = seeded(name, tiny_options());
    task->eval();
    SingleProcess alone;
    const float exact = sum_of(task->losses(batch_for(name), {}, alone)).item<float>();
    const auto again = seeded(name, tiny_options());
    again->eval();
    Tensor loss;
    {
      const Autocast autocast(torch::kCPU, torch::kBFloat16);
      loss = sum_of(again->losses(batch_for(name), {}, alone));
    }
    EXPECT_NEAR(loss.item<float>(), exact, 0.02 * exact) << name;
    EXPECT_NE(loss.item<float>(), exact) << name << " did not compute in bf16 at all";
    loss.backward();
    for (const Tensor& parameter : again->parameters()) {
      if (!parameter.grad().defined()) continue;
      EXPECT_TRUE(parameter.grad().isfinite().all().item<bool>());
    }
  }
}

/// Ranks that are threads. No gradients.
class Threads {
 public:
  explicit Threads(std::int64_t size) : barrier_(size), parts_(static_cast<std::size_t>(size)) {}

  class Rank final : public Communicator {
   public:
    Rank(Threads& threads, std::int64_t rank) : threads_(threads), rank_(rank) {}
    std::int64_t rank() const override { return rank_; }
    std::int64_t size() const override { return static_cast<std::int64_t>(threads_.parts_.size()); }
    Tensor all_gather(const Tensor& tensor) override {
      threads_.parts_[static_cast<std::size_t>(rank_)] = tensor.detach().clone();
      threads_.barrier_.arrive_and_wait();
      Tensor all = at::cat(threads_.parts_);
      threads_.barrier_.arrive_and_wait();
      return all;
    }
    Tensor all_gather_with_gradient(const Tensor& tensor) override { return all_gather(tensor); }

   private:
    Threads& threads_;
    std::int64_t rank_;
  };

 private:
  std::barrier<> barrier_;
  std::vector<Tensor> parts_;
};

Batch part_of(const Batch& batch, std::int64_t from, std::int64_t to) {
  Batch part;
  part.pixel_values = batch.pixel_values.slice(0, from, to);
  part.input_ids = batch.input_ids.slice(0, from, to);
  part.attention_mask = batch.attention_mask.slice(0, from, to);
  part.prompt_lengths = batch.prompt_lengths.slice(0, from, to);
  part.image_ids = batch.image_ids.slice(0, from, to);
  return part;
}

TEST(Task, LosesTheSameOnTwoRanks) {
  for (const std::string name : {"pretrain", "retrieval", "caption"}) {
    Batch batch = tiny_batch(8, 4);
    batch.input_ids.slice(0, 4).slice(1, 5).fill_(0);
    batch.attention_mask.slice(0, 4).slice(1, 5).fill_(0);
    std::vector<double> alone_losses, mean;
    {
      SingleProcess alone;
      const auto task = seeded(name, tiny_options());
      torch::NoGradGuard no_grad;
      for (std::int64_t step = 0; step < 2; ++step) {
        for (const auto& [loss, value] : task->losses(batch, {step}, alone)) {
          alone_losses.push_back(value.item<double>());
        }
      }
    }
    Threads threads(2);
    mean.resize(alone_losses.size());
    std::vector<std::vector<double>> of_rank(2);
    std::vector<std::shared_ptr<Task>> tasks = {seeded(name, tiny_options()),
                                                seeded(name, tiny_options())};
    std::vector<std::thread> running;
    for (std::int64_t rank = 0; rank < 2; ++rank) {
      running.emplace_back([&, rank] {
        torch::NoGradGuard no_grad;
        Threads::Rank communicator(threads, rank);
        const auto i = static_cast<std::size_t>(rank);
        Batch part = part_of(batch, 4 * rank, 4 * rank + 4);
        if (rank == 1) {  // whose texts are shorter: each rank pads to its own longest
          part.input_ids = part.input_ids.slice(1, 0, 5);
          part.attention_mask = part.attention_mask.slice(1, 0, 5);
        }
        for (std::int64_t step = 0; step < 2; ++step) {
          for (const auto& [loss, value] : tasks[i]->losses(part, {step}, communicator)) {
            of_rank[i].push_back(value.item<double>());
          }
        }
      });
    }
    for (std::thread& thread : running) thread.join();
    for (std::size_t i = 0; i < alone_losses.size(); ++i) {
      EXPECT_NEAR((of_rank[0].at(i) + of_rank[1].at(i)) / 2, alone_losses[i],
                  1e-5 * alone_losses[i])
          << name << ", loss " << i;
    }
  }
}

TEST(Task, StateIsAllThatAStepChanges) {
  for (const std::string name : kTasks) {
    SingleProcess alone;
    const auto first = seeded(name, tiny_options());
    torch::optim::SGD optimizer(first->parameters(), torch::optim::SGDOptions(0.1));
    const auto step = [&](Task& task, torch::optim::Optimizer& with, std::int64_t at) {
      with.zero_grad();
      const Tensor loss = sum_of(task.losses(batch_for(name, 20 + std::uint64_t(at)), {at}, alone));
      loss.backward();
      with.step();
      return loss.item<float>();
    };
    step(*first, optimizer, 0);
    torch::manual_seed(99);
    const auto second = make_task(name, tiny_options());
    const std::vector<Tensor> from = first->state(), to = second->state();
    ASSERT_EQ(from.size(), to.size());
    {
      torch::NoGradGuard no_grad;
      for (std::size_t i = 0; i < from.size(); ++i) Tensor(to[i]).copy_(from[i]);
    }
    torch::optim::SGD resumed(second->parameters(), torch::optim::SGDOptions(0.1));
    step(*first, optimizer, 1);
    step(*second, resumed, 1);
    for (std::size_t i = 0; i < from.size(); ++i) {
      EXPECT_TRUE(first->state()[i].equal(second->state()[i])) << name << ", tensor " << i;
    }
  }
}

void expect_usage_error(const std::string& name, const TaskOptions& options,
                        const std::string& part) {
  try {
    make_task(name, options);
    FAIL() << "no error for " << part;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::usage);
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

TEST(Task, RefusesOptionsThatMakeNoSense) {
  expect_usage_error("captions", tiny_options(), "expected pretrain, caption");
  TaskOptions options = tiny_options();
  options.alpha = 1.5;
  expect_usage_error("pretrain", options, "\"alpha\"");
  options = tiny_options();
  options.vision_checkpoint_layers = 3;
  expect_usage_error("caption", options, "vision_checkpoint_layers");
  options = tiny_options();
  options.config.text.num_attention_heads = 5;
  EXPECT_THROW(make_task("caption", options), Error);
}

TEST(Task, SaysWhatIsWrongWithABatch) {
  SingleProcess alone;
  const auto error_of = [&](const std::string& name, const TaskOptions& options,
                            const Batch& batch) -> std::string {
    try {
      make_task(name, options)->losses(batch, {}, alone);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  TaskOptions options = tiny_options();
  options.queue_size = 18;
  EXPECT_NE(error_of("pretrain", options, tiny_batch(4, 1)).find("no multiple of the batch"),
            std::string::npos);
  Batch batch = tiny_batch(4, 1);
  batch.pixel_values = torch::zeros({4, 3, 48, 48});
  EXPECT_NE(error_of("caption", tiny_options(), batch).find("48 x 48"), std::string::npos);
  batch = tiny_batch(4, 1);
  batch.prompt_lengths.fill_(7);
  EXPECT_NE(error_of("caption", tiny_options(), batch).find("no token is to be learnt"),
            std::string::npos);
}

}  // namespace
}  // namespace blip::train
