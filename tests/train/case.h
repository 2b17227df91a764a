#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>
#include <map>
#include <string>

#include "blip/base/json.h"
#include "blip/checkpoint/tensor_store.h"
#include "train/model/task.h"

namespace blip::train::testing {

/// The directory of golden cases: BLIP_GOLDEN_DIR, or the project's own copy.
std::filesystem::path golden_root();

/// Tensors of a safetensors file.
class Tensors {
 public:
  explicit Tensors(const std::filesystem::path& file);
  bool contains(const std::string& name) const { return store_.contains(name); }
  torch::Tensor operator()(const std::string& name) const;
  std::vector<std::string> names() const;

 private:
  TensorStore store_;
};

/// A checkpoint of the golden data with its inputs and what a reference made of them.
struct Case {
  /// `folder` below golden_root(), such as "E_original/vqa".
  explicit Case(const std::string& folder);

  std::filesystem::path folder;
  Json manifest;
  Tensors inputs, expected;

  std::filesystem::path checkpoint() const;
  /// Its sizes, and nothing random: no dropout, no ramp of alpha.
  TaskOptions options() const;
};

/// |got - wanted| <= absolute + relative |wanted| everywhere.
void expect_close(const torch::Tensor& got, const torch::Tensor& wanted, double absolute,
                  double relative, const std::string& what);

/// The loss of a name.
torch::Tensor loss(const Losses& losses, const std::string& name);
/// All of them.
torch::Tensor total(const Losses& losses);

}  // namespace blip::train::testing
