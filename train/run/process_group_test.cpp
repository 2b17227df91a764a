#include "train/run/process_group.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <thread>

#include "blip/base/error.h"

namespace blip::train {
namespace {

/// Runs `body` as each of `count` ranks, on threads.
void as_ranks(std::int64_t count, std::uint16_t offset, std::int64_t timeout,
              const std::function<void(ProcessGroup&)>& body) {
  const auto port = static_cast<std::uint16_t>(20000 + getpid() % 20000 + 20 + offset);
  std::vector<std::thread> threads;
  for (std::int64_t rank = 0; rank < count; ++rank) {
    threads.emplace_back([&, rank] {
      const auto group = join({rank, count, rank, "localhost", port}, "auto", torch::kCPU, timeout);
      body(*group);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(ProcessGroups, GatherInOrder) {
  as_ranks(3, 0, 20, [](ProcessGroup& group) {
    const auto rank = static_cast<double>(group.rank());
    const torch::Tensor all = group.all_gather(torch::full({2, 2}, rank));
    const torch::Tensor expected = torch::tensor({0.F, 0.F, 1.F, 1.F, 2.F, 2.F}).repeat({2, 1}).t();
    EXPECT_TRUE(torch::equal(all, expected)) << all;
    const torch::Tensor numbers = group.all_gather(torch::full({1}, group.rank(), torch::kLong));
    EXPECT_TRUE(torch::equal(numbers, torch::arange(3)));
  });
}

TEST(ProcessGroups, GradientsComeFromAllRanks) {
  as_ranks(3, 1, 20, [](ProcessGroup& group) {
    const torch::Tensor x = torch::full({2}, 1.0).requires_grad_();
    const torch::Tensor all = group.all_gather_with_gradient(x * 2);
    // Rank r's loss weighs what comes from rank s with (r + 1) * (s + 1): in sum 6 (s + 1).
    const torch::Tensor weights = torch::tensor({1.F, 1.F, 2.F, 2.F, 3.F, 3.F});
    ((all * weights).sum() * static_cast<double>(group.rank() + 1)).backward();
    EXPECT_TRUE(
        torch::equal(x.grad(), torch::full({2}, 12.0 * static_cast<double>(group.rank() + 1))))
        << x.grad();
  });
}

TEST(ProcessGroups, Average) {
  as_ranks(2, 2, 20, [](ProcessGroup& group) {
    const auto rank = static_cast<float>(group.rank());
    std::vector<torch::Tensor> tensors = {torch::full({3}, rank),
                                          torch::full({8 << 20}, 2 * rank),  // a bucket of its own
                                          torch::full({2, 2}, 1 - rank), torch::full({}, 4 * rank)};
    group.average(tensors);
    for (const double expected : {0.5, 1.0, 0.5, 2.0}) {
      EXPECT_TRUE((tensors.front() == expected).all().item<bool>());
      tensors.erase(tensors.begin());
    }
  });
}

TEST(ProcessGroups, ALostOneIsTold) {
  as_ranks(2, 3, 2, [](ProcessGroup& group) {
    if (group.rank() == 1) return;  // its connections close
    try {
      group.average({torch::zeros({1})});
      ADD_FAILURE() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::io);
      EXPECT_NE(std::string(e.what()).find("lost"), std::string::npos) << e.what();
    }
  });
}

TEST(ProcessGroups, Environment) {
  const auto set = [](const char* name, const char* value) { setenv(name, value, 1); };
  for (const char* name : {"WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK"}) {
    unsetenv(name);
  }
  EXPECT_EQ(Rendezvous::from_environment().size, 1);
  set("WORLD_SIZE", "4");
  EXPECT_THROW(Rendezvous::from_environment(), Error);
  set("RANK", "3");
  set("MASTER_ADDR", "host");
  set("MASTER_PORT", "29500");
  EXPECT_EQ(Rendezvous::from_environment().rank, 3);
  set("RANK", "4");
  EXPECT_THROW(Rendezvous::from_environment(), Error);
  set("RANK", "x");
  EXPECT_THROW(Rendezvous::from_environment(), Error);
  unsetenv("WORLD_SIZE");
  unsetenv("RANK");
  set("SLURM_NTASKS", "2");
  set("SLURM_PROCID", "1");
  EXPECT_EQ(Rendezvous::from_environment().rank, 1);
  for (const char* name : {"SLURM_NTASKS", "SLURM_PROCID", "MASTER_ADDR", "MASTER_PORT"}) {
    unsetenv(name);
  }
}

}  // namespace
}  // namespace blip::train
