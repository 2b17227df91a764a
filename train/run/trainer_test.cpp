#include "train/run/trainer.h"

#include <cmath>
#include <thread>

#include "blip/base/error.h"
#include "train/data/test_folder_test.h"
#include "train/run/fake_task_test.h"

namespace blip::train {
namespace {

namespace fs = std::filesystem;

/// Runs of the fake task over 40 pictures, in steps of 8: 5 an epoch.
class TrainerTest : public TestFolder {
 protected:
  void SetUp() override {
    TestFolder::SetUp();
    fs::create_directories(folder_ / "data");
    for (int i = 0; i < 40; ++i) {
      const std::string name = "data/" + std::to_string(i);
      save_png(picture(i * 6), folder_ / (name + ".png"));
      std::string text = "one";
      for (int k = 0; k < i / 8; ++k) text += " more";
      write(name + ".txt", text);
    }
    configuration_.data.train = {(folder_ / "data").string()};
    configuration_.output = output("run");
    configuration_.optim.batch_size = 8;
    configuration_.optim.epochs = 4;
    configuration_.optim.lr = 0.05;
    configuration_.optim.clip = 5;
    configuration_.run.save_every_steps = 0;
    configuration_.run.log_every = 1;
    processor_.height = processor_.width = 8;
  }

  std::string output(const std::string& name) const {
    fs::create_directories(folder_ / name);
    return (folder_ / name).string();
  }

  /// One process of a run; what Trainer throws, it throws.
  void run(FakeTask& task, ProcessGroup& group, bool resume = false) {
    BadRecords bad(0.01, [](const std::string&) {});
    const OptimConfiguration& optim = configuration_.optim;
    const Share share{group.rank(), group.size(), optim.batch_size, optim.accumulation};
    const auto source = make_source(configuration_.data, DataKind::captions, share,
                                    static_cast<std::uint64_t>(configuration_.seed), bad);
    const Collator collator(tokenizer_, configuration_.data, DataKind::captions, processor_);
    Trainer trainer({"caption", configuration_, task, source, collator, bad, group, torch::kCPU,
                     stop_, resume});
    trainer.run();
  }

  void run(FakeTask& task, bool resume = false) {
    const auto alone = join({}, "auto", torch::kCPU, 10);
    run(task, *alone, resume);
  }

  /// `count` processes, as threads that have a process group each.
  void run_many(std::int64_t count, std::uint16_t port, std::vector<FakeTask>& tasks,
                bool resume = false) {
    std::vector<std::thread> threads;
    for (std::int64_t rank = 0; rank < count; ++rank) {
      threads.emplace_back([&, rank] {
        const auto group = join({rank, count, rank, "127.0.0.1", port}, "gloo", torch::kCPU, 20);
        run(tasks[static_cast<std::size_t>(rank)], *group, resume);
        group->all_gather(torch::zeros({1}));
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  std::vector<double> losses(const std::string& name) const {
    std::vector<double> all;
    for (const MetricsLine& line : read_metrics(folder_ / name / "metrics.jsonl")) {
      for (const auto& [key, value] : line.values) {
        if (key == "loss") all.push_back(value);
      }
    }
    return all;
  }

  static void expect_same(FakeTask& a, FakeTask& b) {
    const auto x = a.state(), y = b.state();
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_TRUE(torch::equal(x[i], y[i])) << i;
  }

  Tokenizer tokenizer_ = Tokenizer::bert_base_uncased();
  Configuration configuration_;
  ImageProcessorConfig processor_;
  std::atomic<bool> stop_{false};
};

TEST_F(TrainerTest, Learns) {
  FakeTask task;
  run(task);
  const auto all = losses("run");
  ASSERT_EQ(all.size(), 20U);
  EXPECT_LT(all.back(), all.front() / 2);
  EXPECT_EQ(Checkpoints(folder_ / "run" / "checkpoints", 1).newest().filename(),
            "step-00000020.safetensors");
}

TEST_F(TrainerTest, GoesOnToTheLastBit) {
  FakeTask whole;
  whole.dropout = 0.3;
  configuration_.optim.accumulation = 2;
  configuration_.optim.batch_size = 4;
  run(whole);
  configuration_.output = output("parts");
  for (const std::int64_t end : {3, 5, 11}) {
    FakeTask part;
    part.dropout = 0.3;
    part.before_step = [&](std::int64_t step) { stop_ = step + 1 == end; };
    try {
      run(part, true);
      ADD_FAILURE() << "not stopped";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::cancelled);
      EXPECT_NE(std::string(e.what()).find("step " + std::to_string(end)), std::string::npos);
    }
    stop_ = false;
  }
  FakeTask last;
  last.dropout = 0.3;
  run(last, true);
  expect_same(whole, last);
  EXPECT_EQ(losses("parts"), losses("run"));
  FakeTask again;
  run(again, true);  // nothing is left to do
  expect_same(whole, again);
}

TEST_F(TrainerTest, ProcessesTogetherDoWhatOneDoes) {
  FakeTask one;
  run(one);
  const auto alone = losses("run");
  for (const std::int64_t count : {2, 4}) {
    configuration_.output = output("run" + std::to_string(count));
    configuration_.optim.batch_size = 8 / count;
    std::vector<FakeTask> tasks(static_cast<std::size_t>(count));
    run_many(count, static_cast<std::uint16_t>(20000 + getpid() % 20000 + count), tasks);
    const auto together = losses("run" + std::to_string(count));
    ASSERT_EQ(together.size(), alone.size());
    for (std::size_t i = 0; i < alone.size(); ++i) {
      EXPECT_NEAR(together[i], alone[i], 1e-4 * std::abs(alone[i])) << count << " " << i;
    }
    for (FakeTask& task : tasks) expect_same(task, tasks[0]);
  }
}

TEST_F(TrainerTest, GoesOnWithAnotherNumberOfProcesses) {
  FakeTask whole;
  run(whole);
  configuration_.output = output("parts");
  FakeTask part;
  part.before_step = [&](std::int64_t step) { stop_ = step == 6; };
  EXPECT_THROW(run(part), Error);
  stop_ = false;
  configuration_.optim.batch_size = 4;
  FakeTask refused;
  EXPECT_THROW(run(refused, true), Error);  // a step would take 4 records
  std::vector<FakeTask> tasks(2);
  run_many(2, static_cast<std::uint16_t>(20000 + getpid() % 20000 + 9), tasks, true);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(torch::allclose(tasks[0].state()[i], whole.state()[i], 1e-4, 1e-5)) << i;
  }
}

TEST_F(TrainerTest, NotANumberEndsTheRunAndKeepsTheBatch) {
  FakeTask task;
  task.nan_at = 7;
  configuration_.run.save_every_steps = 5;
  try {
    run(task);
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::io);
    EXPECT_NE(std::string(e.what()).find("step 7"), std::string::npos) << e.what();
  }
  EXPECT_TRUE(fs::exists(folder_ / "run" / "bad-batch-step-7-rank-0.safetensors"));
  EXPECT_EQ(Checkpoints(folder_ / "run" / "checkpoints", 1).newest().filename(),
            "step-00000005.safetensors");
  FakeTask good;
  run(good, true);
  for (const torch::Tensor& tensor : good.state()) {
    EXPECT_TRUE(torch::isfinite(tensor).all().item<bool>());
  }
}

TEST_F(TrainerTest, DoesNotStartOverByMistake) {
  FakeTask task;
  run(task);
  FakeTask other;
  try {
    run(other);
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("--resume"), std::string::npos);
  }
  configuration_.seed = 7;
  EXPECT_THROW(run(other, true), Error);
  configuration_.output = output("new");
  configuration_.optim.batch_size = 41;
  EXPECT_THROW(run(other), Error);  // no whole step in an epoch
}

}  // namespace
}  // namespace blip::train
