#include "train/model/pretrain.h"

#include "train/model/caption.h"

namespace blip::train {
namespace {

using torch::Tensor;

/// Keeps a negative that is all but impossible possible.
constexpr double kFloor = 1e-4;

Parameters& tied(Parameters& parameters) {
  parameters.tie("text_decoder.bert.", "text_encoder.", ".attention.");
  return parameters;
}

}  // namespace

Pretrain::Pretrain(const TaskOptions& options)
    : ImageTextTask(Architecture::pretrain, options),
      decoder_(this->options(), tied(parameters_by_name()),
               this->options().config.vision.hidden_size) {
  finish();
}

Losses Pretrain::losses(const Batch& batch, const Progress& progress, Communicator& communicator) {
  Batch own = batch;
  own.image_ids = Tensor();
  const Encoded encoded = contrast(own, progress, communicator);
  const auto weights = [&](const Tensor& similarities) {
    const std::int64_t near = encoded.same_picture.size(1);
    return negative_weights(similarities.detach().slice(1, 0, near), encoded.same_picture, kFloor);
  };
  const Negatives negatives = choose(weights(encoded.text_to_images),
                                     weights(encoded.image_to_texts), progress, communicator);
  // The decoder looks with the encoder's own cross-attention: once for both.
  const Sight sight = encoders().text().project(encoded.image_embeds);
  const Tensor itm = match(own, encoded, negatives, sight, communicator);
  const Tensor lm = caption_loss(decoder_, own, sight, options(), is_training(), communicator);
  return {{"loss_ita", encoded.loss}, {"loss_itm", itm}, {"loss_lm", lm}};
}

}  // namespace blip::train
