#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>

#include "train/model/task.h"

namespace blip::train {

/// Draws for each row of `weights` [B, W] >= 0 one column [B] i64, as likely as it weighs.
using NegativeChooser = std::function<torch::Tensor(const torch::Tensor& weights)>;

/// Draws by numbers that depend on the seed, the step, `salt`, and where the row lies in the batch
/// of all ranks alone: the same for any number of processes, and after a resume.
torch::Tensor draw_negatives(const torch::Tensor& weights, std::int64_t seed, std::int64_t step,
                             std::int64_t salt, const Communicator& communicator);

/// softmax(similarities [B, W]) + `floor`, 0 where `excluded` [B, W] is true. A row that underflows
/// to nothing weighs all its others alike. Throws Error{usage} when a row has no others: a batch of
/// one picture.
torch::Tensor negative_weights(const torch::Tensor& similarities, const torch::Tensor& excluded,
                               double floor);

}  // namespace blip::train
