#include "train/model/hard_negatives.h"

#include <ATen/CPUGeneratorImpl.h>

#include "blip/base/error.h"

namespace blip::train {

using torch::Tensor;

Tensor draw_negatives(const Tensor& weights, std::int64_t seed, std::int64_t step,
                      std::int64_t salt, const Communicator& communicator) {
  const std::int64_t rows = weights.size(0);
  // Spread over all 64 bits, so that neighbouring steps share nothing.
  const auto key =
      (static_cast<std::uint64_t>(seed) * 0x9e3779b97f4a7c15u + static_cast<std::uint64_t>(step)) *
          0xbf58476d1ce4e5b9u +
      static_cast<std::uint64_t>(salt);
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(key);
  const Tensor uniform = torch::empty({rows * communicator.size(), 1}, torch::kDouble)
                             .uniform_(0, 1, generator)
                             .slice(0, communicator.rank() * rows, (communicator.rank() + 1) * rows)
                             .to(weights.device());
  const Tensor sums = weights.to(torch::kDouble).cumsum(1);
  const Tensor at = uniform * sums.slice(1, -1);
  return at::searchsorted(sums, at, /*out_int32=*/false, /*right=*/true)
      .squeeze(1)
      .clamp_max(weights.size(1) - 1);
}

Tensor negative_weights(const Tensor& similarities, const Tensor& excluded, double floor) {
  const Tensor allowed = excluded.logical_not().to(torch::kFloat);
  const Tensor weights = (similarities.softmax(1) + floor) * allowed;
  const Tensor usable = at::where(weights.sum(1, true) > 0, weights, allowed);
  if (!(usable.sum(1) > 0).all().item<bool>()) {
    throw Error(ErrorCode::usage,
                "a batch has one picture alone, but matching (ITM) draws a text of another one: "
                "make batches larger");
  }
  return usable;
}

}  // namespace blip::train
