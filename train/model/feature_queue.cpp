#include "train/model/feature_queue.h"

#include "blip/base/error.h"

namespace blip::train {
namespace {

torch::Tensor random_directions(std::int64_t width, std::int64_t size) {
  return torch::nn::functional::normalize(torch::randn({width, size}),
                                          torch::nn::functional::NormalizeFuncOptions().dim(0));
}

}  // namespace

FeatureQueue::FeatureQueue(torch::nn::Module& root, std::int64_t width, std::int64_t size)
    : images(root.register_buffer("image_queue", random_directions(width, size))),
      texts(root.register_buffer("text_queue", random_directions(width, size))),
      image_ids(root.register_buffer("idx_queue", torch::full({1, size}, -100, torch::kLong))),
      pointer(root.register_buffer("queue_ptr", torch::zeros({1}, torch::kLong))) {}

void FeatureQueue::push(const Features& features, const torch::Tensor& ids) {
  torch::NoGradGuard no_grad;
  const std::int64_t size = images.size(1), batch = features.images.size(0);
  if (size % batch != 0) {
    throw Error(ErrorCode::usage, "the queue of " + std::to_string(size) +
                                      " features is no multiple of the batch of all ranks, " +
                                      std::to_string(batch));
  }
  const std::int64_t from = pointer.item<std::int64_t>() % size, to = from + batch;
  if (to > size) {
    throw Error(ErrorCode::usage, "the batch's size changed to " + std::to_string(batch) +
                                      " in the middle of the queue, at " + std::to_string(from) +
                                      " of " + std::to_string(size));
  }
  images.slice(1, from, to).copy_(features.images.t());
  texts.slice(1, from, to).copy_(features.texts.t());
  if (ids.defined()) image_ids.slice(1, from, to).copy_(ids.view({1, -1}));
  pointer.fill_(to % size);
}

}  // namespace blip::train
