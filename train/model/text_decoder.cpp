#include "train/model/text_decoder.h"

#include "blip/base/error.h"

namespace blip::train {

using torch::Tensor;

namespace {

const std::string kPredictions = "text_decoder.cls.predictions.";

}  // namespace

TextDecoder::TextDecoder(const TaskOptions& options, Parameters& parameters, int cross_width)
    : med_(options, parameters, "text_decoder.bert.", cross_width),
      label_smoothing_(options.label_smoothing) {
  const TextConfig& text = options.config.text;
  const int d = text.hidden_size;
  bias_ = parameters.constant(kPredictions + "bias", {text.vocab_size}, 0);
  transform_ = parameters.linear(kPredictions + "transform.dense", d, d);
  transform_norm_ =
      parameters.layer_norm(kPredictions + "transform.LayerNorm", d, text.layer_norm_eps);
}

Tensor TextDecoder::head(const Tensor& hidden) const {
  const Tensor transformed = transform_norm_(at::gelu(transform_(hidden)));
  return at::linear(transformed, med_.word_embeddings(), bias_);
}

Tensor TextDecoder::logits(const Texts& texts, const Sight& sight, bool training,
                           const Probe& probe) const {
  return head(med_.forward(texts, &sight, training, probe));
}

TextDecoder::TokenLosses TextDecoder::losses(const Texts& texts, const Targets& targets,
                                             const Sight& sight, bool training) const {
  const Tensor hidden = med_.forward(texts, &sight, training);
  // The last token has nothing after it; of the others those count whose next one is a target.
  const std::int64_t steps = texts.ids.size(1) - 1, width = hidden.size(2);
  const Tensor wanted = targets.mask.slice(1, 1).flatten().nonzero().squeeze(1);
  if (wanted.numel() == 0) {
    throw Error(ErrorCode::usage,
                "a batch came in which no token is to be learnt: every text is "
                "empty or all prompt");
  }
  const Tensor states = hidden.slice(1, 0, steps).reshape({-1, width}).index_select(0, wanted);
  const Tensor ids = targets.ids.slice(1, 1).reshape({-1}).index_select(0, wanted);
  const Tensor values = at::cross_entropy_loss(head(states).to(torch::kFloat), ids, {},
                                               at::Reduction::None, -100, label_smoothing_);
  return {values, at::div(wanted, steps, "floor")};
}

Tensor mean_over_tokens(const Tensor& values, Communicator& communicator) {
  if (communicator.size() == 1) return values.mean();
  const Tensor own = torch::full({1}, values.numel(), values.options());
  const Tensor all = communicator.all_gather(own).sum();
  return values.sum() * static_cast<double>(communicator.size()) / all;
}

}  // namespace blip::train
