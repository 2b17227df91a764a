#include "train/run/checkpoint.h"

#include <sys/resource.h>

#include <csignal>

#include "blip/base/error.h"
#include "train/data/test_folder_test.h"

namespace blip::train {
namespace {

class CheckpointFiles : public TestFolder {
 protected:
  static std::vector<torch::Tensor> tensors(double value) {
    return {torch::full({3, 2}, value),
            torch::full({}, static_cast<std::int64_t>(value), torch::kLong),
            torch::ones({2}, torch::kBool), torch::empty({0}), torch::full({1000, 1000}, value)};
  }
  static RunState state(std::int64_t step) {
    return {"caption", step, 10, 8, 42, {{0, step, step * 4}, {0, step, step * 4}}};
  }
};

template <class Call>
void expect_error(ErrorCode code, const std::string& says, Call call) {
  try {
    call();
    ADD_FAILURE() << "no error that says " << says;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    EXPECT_NE(std::string(e.what()).find(says), std::string::npos) << e.what();
  }
}

TEST_F(CheckpointFiles, HoldEverything) {
  const Checkpoints checkpoints(folder_ / "c", 2);
  EXPECT_TRUE(checkpoints.newest().empty());
  for (std::int64_t step : {5, 100, 7}) checkpoints.save(state(step), tensors(step));
  EXPECT_EQ(checkpoints.newest().filename(), "step-00000100.safetensors");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_ / "c"), {}), 2);
  const auto into = tensors(0);
  const RunState found = Checkpoints::load(checkpoints.newest(), into);
  EXPECT_EQ(found.step, 100);
  EXPECT_EQ(found.positions.at(1).taken, 400);
  const auto expected = tensors(100);
  for (std::size_t i = 0; i < into.size(); ++i) EXPECT_TRUE(torch::equal(into[i], expected[i]));
}

TEST_F(CheckpointFiles, OfAnotherModelAreRefused) {
  const Checkpoints checkpoints(folder_, 2);
  checkpoints.save(state(5), tensors(1));
  auto others = tensors(0);
  others.pop_back();
  expect_error(ErrorCode::usage, "another model",
               [&] { Checkpoints::load(checkpoints.newest(), others); });
  others.push_back(torch::zeros({1000, 999}));
  expect_error(ErrorCode::usage, "[1000, 999] was expected",
               [&] { Checkpoints::load(checkpoints.newest(), others); });
  std::filesystem::resize_file(checkpoints.newest(), 1000);
  expect_error(ErrorCode::bad_model, "",
               [&] { Checkpoints::load(checkpoints.newest(), tensors(0)); });
}

TEST_F(CheckpointFiles, AFullDiskLeavesTheLastOneWhole) {
  const Checkpoints checkpoints(folder_, 1);
  checkpoints.save(state(1), tensors(1));
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  auto* const old = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1 << 20, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  expect_error(ErrorCode::io, "cannot write", [&] { checkpoints.save(state(2), tensors(2)); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old);
  EXPECT_EQ(checkpoints.newest().filename(), "step-00000001.safetensors");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
  const auto into = tensors(0);
  EXPECT_EQ(Checkpoints::load(checkpoints.newest(), into).step, 1);
  EXPECT_TRUE(torch::equal(into[4], tensors(1)[4]));
}

TEST(Positions, OfAnotherNumberOfProcesses) {
  // Step 13 of 10 an epoch: two processes of 4 records, three steps into epoch 1.
  const RunState run{"caption", 13, 10, 8, 42, {{1, 3, 12}, {1, 3, 12}}};
  const DataPosition same = position_after(run, {1, 2, 4, 1}, true);
  EXPECT_EQ(same.taken, 12);
  const DataPosition one = position_after(run, {0, 1, 4, 2}, true);
  EXPECT_EQ(one.epoch, 1);
  EXPECT_EQ(one.batches, 6);
  EXPECT_EQ(one.taken, 24);
  expect_error(ErrorCode::usage, "batch_size", [&] { position_after(run, {0, 1, 4, 1}, true); });
  expect_error(ErrorCode::usage, "shards", [&] { position_after(run, {0, 4, 2, 1}, false); });
  RunState passed = run;
  passed.positions[1].taken = 13;
  EXPECT_EQ(position_after(passed, {1, 2, 4, 1}, true).taken, 13);
  expect_error(ErrorCode::usage, "passed over", [&] {
    position_after(passed, {0, 4, 2, 1}, true);
  });
}

}  // namespace
}  // namespace blip::train
