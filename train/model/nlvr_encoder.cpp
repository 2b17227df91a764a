#include "train/model/nlvr_encoder.h"

#include "train/model/attention.h"
#include "train/model/recompute.h"

namespace blip::train {
namespace {

using torch::Tensor;

constexpr int kFirstMergingLayer = 6;

}  // namespace

NlvrEncoder::NlvrEncoder(const TaskOptions& options, Parameters& parameters)
    : med_(options, parameters, "text_encoder.", 0),
      heads_(options.config.text.num_attention_heads),
      dropout_(options.dropout) {
  const TextConfig& text = options.config.text;
  const int d = text.hidden_size, pictures = options.config.vision.hidden_size;
  for (int i = 0; i < text.num_hidden_layers; ++i) {
    const std::string cross =
        "text_encoder.encoder.layer." + std::to_string(i) + ".crossattention.";
    Layer layer;
    for (std::size_t b = 0; b < 2; ++b) {
      const std::string self = cross + "self" + std::to_string(b) + ".";
      layer.branches[b] = {parameters.linear(self + "query", d, d),
                           parameters.linear(self + "key", d, pictures),
                           parameters.linear(self + "value", d, pictures),
                           parameters.linear(cross + "output.dense" + std::to_string(b), d, d)};
    }
    layer.merges = i >= kFirstMergingLayer;
    if (layer.merges) layer.merge_layer = parameters.linear(cross + "output.merge_layer", d, 2 * d);
    layer.norm = parameters.layer_norm(cross + "output.LayerNorm", d, text.layer_norm_eps);
    layers_.push_back(std::move(layer));
  }
}

Tensor NlvrEncoder::cross_attention(const Layer& layer, const Tensor& x,
                                    const std::array<Tensor, 2>& pictures, bool training) const {
  const double dropout = training ? dropout_ : 0;
  std::array<Tensor, 2> seen;
  for (std::size_t b = 0; b < 2; ++b) {
    const Branch& branch = layer.branches[b];
    const Tensor attended = attention(branch.query(x), branch.key(pictures[b]),
                                      branch.value(pictures[b]), heads_, {}, dropout);
    seen[b] = branch.dense(attended);
  }
  const Tensor merged =
      layer.merges ? layer.merge_layer(at::cat({seen[0], seen[1]}, -1)) : (seen[0] + seen[1]) / 2;
  return add_and_normalise(layer.norm, merged, x, dropout);
}

Tensor NlvrEncoder::forward(const Texts& texts, const std::array<Tensor, 2>& pictures,
                            bool training, const Probe& probe) const {
  const Tensor mask = additive_mask(texts.mask, texts.causal);
  Tensor x = med_.embed(texts.ids, training);
  if (probe) probe("text.hidden_states.0", x);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const auto layer = [=, this](const Tensor& in, const Tensor& left, const Tensor& right) {
      const Tensor y = med_.self_attention(i, in, mask, training);
      return med_.feed_forward(i, cross_attention(layers_[i], y, {left, right}, training),
                               training);
    };
    x = med_.is_recomputed(i) ? recomputed(layer, x, pictures[0], pictures[1])
                              : layer(x, pictures[0], pictures[1]);
    if (probe) probe("text.hidden_states." + std::to_string(i + 1), x);
  }
  return x;
}

}  // namespace blip::train
