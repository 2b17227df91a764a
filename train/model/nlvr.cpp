#include "train/model/nlvr.h"

#include "blip/base/error.h"

namespace blip::train {

using torch::Tensor;

Nlvr::Nlvr(const TaskOptions& options)
    : ModelTask(Architecture::nlvr, options), text_encoder_(this->options(), parameters_by_name()) {
  const int d = this->options().config.text.hidden_size;
  hidden_ = parameters_by_name().linear("cls_head.0", d, d, Fill::uniform);
  output_ = parameters_by_name().linear("cls_head.2", 2, d, Fill::uniform);
  finish();
}

Tensor Nlvr::logits(const Batch& batch, const Probe& probe) const {
  const std::int64_t pairs = batch.input_ids.size(0);
  if (batch.pixel_values.size(0) != 2 * pairs) {
    throw Error(ErrorCode::internal, "a batch of NLVR2 does not have two pictures per statement");
  }
  const Tensor embeds = vision().forward(batch.pixel_values, is_training(), probe);
  const Texts texts{with_first(batch.input_ids, options().enc_token_id), batch.attention_mask};
  const Tensor hidden = text_encoder_.forward(
      texts, {embeds.slice(0, 0, pairs), embeds.slice(0, pairs)}, is_training(), probe);
  return output_(hidden_(hidden.select(1, 0)).relu());
}

Losses Nlvr::losses(const Batch& batch, const Progress&, Communicator&) {
  require(batch.labels, "labels", "nlvr");
  return {{"loss_nlvr", at::cross_entropy_loss(logits(batch).to(torch::kFloat), batch.labels)}};
}

}  // namespace blip::train
