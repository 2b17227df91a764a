#include "train/model/vqa.h"

#include "blip/base/error.h"

namespace blip::train {

using torch::Tensor;

Vqa::Vqa(const TaskOptions& options)
    : ModelTask(Architecture::question_answering, options),
      text_encoder_(this->options(), parameters_by_name(), "text_encoder.",
                    this->options().config.vision.hidden_size),
      // It looks at the question's states, not at the picture.
      decoder_(this->options(), parameters_by_name(), this->options().config.text.hidden_size) {
  finish();
}

Tensor Vqa::question_states(const Batch& batch, const Probe& probe) const {
  const Sight picture =
      text_encoder_.project(vision().forward(batch.pixel_values, is_training(), probe));
  const Texts questions{with_first(batch.input_ids, options().enc_token_id), batch.attention_mask};
  return text_encoder_.forward(questions, &picture, is_training(), probe);
}

Losses Vqa::losses(const Batch& batch, const Progress&, Communicator&) {
  require(batch.answer_ids, "answer_ids", "vqa");
  require(batch.answer_counts, "answer_counts", "vqa");
  require(batch.answer_weights, "answer_weights", "vqa");
  Sight questions = decoder_.attend_to(question_states(batch));
  questions.mask = batch.attention_mask;
  const Tensor of_question = at::repeat_interleave(batch.answer_counts);
  if (of_question.size(0) != batch.answer_ids.size(0)) {
    throw Error(ErrorCode::internal, "a batch's answer_counts do not sum to its answers");
  }
  const Sight sight = questions.select(of_question);
  const Tensor ids = with_first(batch.answer_ids, options().config.text.bos_token_id);
  const Texts answers{ids, batch.answer_mask, /*causal=*/true};
  const TextDecoder::TokenLosses losses =
      decoder_.losses(answers, {ids, batch.answer_mask}, sight, is_training());
  const Tensor weights = batch.answer_weights.index_select(0, losses.rows);
  const auto count = static_cast<double>(batch.input_ids.size(0));
  return {{"loss_vqa", (losses.values * weights).sum() / count}};
}

}  // namespace blip::train
