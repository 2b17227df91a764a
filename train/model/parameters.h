#pragma once

#include <torch/torch.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "train/model/task.h"

namespace blip::train {

/// y = x W^T + b, and with LoRA + scale (x A^T) B^T.
struct Linear {
  torch::Tensor weight;  // [out, in]
  torch::Tensor bias;    // [out]
  torch::Tensor lora_a;  // [rank, in]; undefined without LoRA
  torch::Tensor lora_b;  // [out, rank]
  double lora_scale = 0;

  torch::Tensor operator()(const torch::Tensor& x) const;
};

struct LayerNorm {
  torch::Tensor weight, bias;  // [width]
  double eps = 0;

  torch::Tensor operator()(const torch::Tensor& x) const;
};

/// What a new linear layer is filled with.
enum class Fill {
  normal,   ///< N(0, 0.02), bias 0: the ViT (whose truncation at 2 cuts nothing off) and BERT
  uniform,  ///< +-1 / sqrt(in), weight and bias: what torch.nn.Linear has by itself, for the heads
};

/// The named tensors of a model, under transformers' names as blip/model reads them. They belong to
/// a module, which gets the tree that the dots of their names describe.
class Parameters {
 public:
  /// Those of `root` that are trained.
  Parameters(torch::nn::Module& root, const LoraOptions& lora) : root_(root), lora_(lora) {}
  /// Copies that are not: buffers of `root` below `prefix`. They are left to be copied into.
  Parameters(torch::nn::Module& root, const LoraOptions& lora, std::string prefix)
      : root_(root), lora_(lora), prefix_(std::move(prefix)) {}
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;

  /// From now on names that begin with `from` mean those with `to` in its place, unless they
  /// contain `except`: two parts that share parameters.
  void tie(std::string from, std::string to, std::string except);

  Linear linear(const std::string& name, int out, int in, Fill fill = Fill::normal);
  LayerNorm layer_norm(const std::string& name, int width, float eps);
  /// N(0, 0.02).
  torch::Tensor normal(const std::string& name, torch::IntArrayRef sizes);
  torch::Tensor uniform(const std::string& name, torch::IntArrayRef sizes, double bound);
  torch::Tensor constant(const std::string& name, torch::IntArrayRef sizes, double value);

  struct Entry {
    std::string name;
    torch::Tensor tensor;
    bool tied = false;  ///< another name for a tensor that comes before
  };
  /// In the order in which they were asked for, those of LoRA included.
  const std::vector<Entry>& entries() const { return entries_; }
  /// nullptr when there is none.
  const Entry* find(const std::string& name) const;
  /// Each tensor once.
  std::vector<torch::Tensor> tensors() const;

  /// The tensor with what LoRA adds to it: what is saved. LoRA's own have no place in a file.
  torch::Tensor merged(const Entry& entry) const;
  static bool is_lora(const std::string& name);

  /// Tensors whose names begin with one of these are not trained any more; LoRA's always are.
  /// Throws Error{usage} naming a beginning that no name has.
  void freeze(const std::vector<std::string>& prefixes);

 private:
  struct TieRule {
    std::string from, to, except;
  };

  bool trained() const { return prefix_.empty(); }
  std::string meant(const std::string& name) const;
  torch::Tensor find_or_add(const std::string& name, torch::IntArrayRef sizes,
                            const std::function<void(torch::Tensor&)>& fill);
  void add_lora(const std::string& name, Linear& linear);
  void place(const std::string& name, torch::Tensor& tensor);

  torch::nn::Module& root_;
  LoraOptions lora_;
  std::string prefix_;
  std::vector<TieRule> ties_;
  std::vector<Entry> entries_;
  std::map<std::string, std::size_t> index_;
};

}  // namespace blip::train
