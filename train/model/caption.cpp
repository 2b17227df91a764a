#include "train/model/caption.h"

namespace blip::train {

using torch::Tensor;

Captioner::Captioner(const TaskOptions& options)
    : ModelTask(Architecture::captioning, options),
      decoder_(this->options(), parameters_by_name(), this->options().config.vision.hidden_size) {
  finish();
}

Tensor caption_loss(const TextDecoder& decoder, const Batch& batch, const Sight& sight,
                    const TaskOptions& options, bool training, Communicator& communicator) {
  const Tensor ids = with_first(batch.input_ids, options.config.text.bos_token_id);
  Tensor learnt = batch.attention_mask != 0;
  if (batch.prompt_lengths.defined()) {
    const Tensor places = torch::arange(ids.size(1), ids.options()).unsqueeze(0);
    learnt = learnt.logical_and(places >= batch.prompt_lengths.unsqueeze(1));
  }
  const Texts texts{ids, batch.attention_mask, /*causal=*/true};
  const TextDecoder::TokenLosses losses = decoder.losses(texts, {ids, learnt}, sight, training);
  return mean_over_tokens(losses.values, communicator);
}

Losses Captioner::losses(const Batch& batch, const Progress&, Communicator& communicator) {
  const Sight sight = decoder_.attend_to(vision().forward(batch.pixel_values, is_training()));
  return {
      {"loss_lm", caption_loss(decoder_, batch, sight, options(), is_training(), communicator)}};
}

}  // namespace blip::train
