#include "train/model/retrieval.h"

#include "train/model/precision.h"

namespace blip::train {

using torch::Tensor;

Retrieval::Retrieval(const TaskOptions& options) : ImageTextTask(Architecture::retrieval, options) {
  finish();
}

Losses Retrieval::losses(const Batch& batch, const Progress& progress, Communicator& communicator) {
  require(batch.image_ids, "image_ids", "retrieval");
  const Encoded encoded = contrast(batch, progress, communicator);
  const bool all = spans_ranks(communicator);
  // Negatives by the model's own features, where pre-training takes the momentum copies' columns.
  const auto weights = [&](const Tensor& rows, const Tensor& columns) {
    torch::NoGradGuard no_grad;
    const FullPrecision full_precision;
    const Tensor known = all ? communicator.all_gather(columns) : columns;
    return negative_weights(rows.matmul(known.t()) / temperature(), encoded.same_picture, 0);
  };
  const Features& features = encoded.features;
  const Tensor of_images = weights(features.texts, features.images);
  const Tensor of_texts = weights(features.images, features.texts);
  const Negatives negatives = choose(of_images, of_texts, progress, communicator);
  const Sight sight = encoders().text().project(encoded.image_embeds);
  return {{"loss_ita", encoded.loss},
          {"loss_itm", match(batch, encoded, negatives, sight, communicator)}};
}

}  // namespace blip::train
