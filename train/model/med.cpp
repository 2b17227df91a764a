#include "train/model/med.h"

#include "blip/base/error.h"
#include "train/model/attention.h"
#include "train/model/recompute.h"

namespace blip::train {

using torch::Tensor;

Tensor add_and_normalise(const LayerNorm& norm, const Tensor& branch, const Tensor& x,
                         double dropout) {
  return norm((dropout > 0 ? at::dropout(branch, dropout, true) : branch) + x);
}

Sight Sight::select(const Tensor& rows) const {
  Sight selected;
  for (const KeysValues& layer : layers) {
    selected.layers.push_back(
        {layer.keys.index_select(0, rows), layer.values.index_select(0, rows)});
  }
  if (mask.defined()) selected.mask = mask.index_select(0, rows);
  return selected;
}

Med::Med(const TaskOptions& options, Parameters& parameters, const std::string& prefix,
         int cross_width)
    : config_(options.config.text),
      dropout_(options.dropout),
      first_recomputed_(
          static_cast<std::size_t>(config_.num_hidden_layers - options.text_checkpoint_layers)) {
  const int d = config_.hidden_size;
  const float eps = config_.layer_norm_eps;
  const std::string embeddings = prefix + "embeddings.";
  word_embeddings_ =
      parameters.normal(embeddings + "word_embeddings.weight", {config_.vocab_size, d});
  position_embeddings_ = parameters.normal(embeddings + "position_embeddings.weight",
                                           {config_.max_position_embeddings, d});
  embeddings_norm_ = parameters.layer_norm(embeddings + "LayerNorm", d, eps);
  for (int i = 0; i < config_.num_hidden_layers; ++i) {
    const std::string name = prefix + "encoder.layer." + std::to_string(i) + ".";
    const std::string self = name + "attention.self.", cross = name + "crossattention.self.";
    Layer layer;
    layer.query = parameters.linear(self + "query", d, d);
    layer.key = parameters.linear(self + "key", d, d);
    layer.value = parameters.linear(self + "value", d, d);
    layer.attention_dense = parameters.linear(name + "attention.output.dense", d, d);
    layer.attention_norm = parameters.layer_norm(name + "attention.output.LayerNorm", d, eps);
    if (cross_width > 0) {
      layer.cross_query = parameters.linear(cross + "query", d, d);
      layer.cross_key = parameters.linear(cross + "key", d, cross_width);
      layer.cross_value = parameters.linear(cross + "value", d, cross_width);
      layer.cross_dense = parameters.linear(name + "crossattention.output.dense", d, d);
      layer.cross_norm = parameters.layer_norm(name + "crossattention.output.LayerNorm", d, eps);
    }
    layer.intermediate =
        parameters.linear(name + "intermediate.dense", config_.intermediate_size, d);
    layer.output = parameters.linear(name + "output.dense", d, config_.intermediate_size);
    layer.output_norm = parameters.layer_norm(name + "output.LayerNorm", d, eps);
    layers_.push_back(std::move(layer));
  }
}

Sight Med::project(const Tensor& states) const {
  Sight sight;
  for (const Layer& layer : layers_) {
    sight.layers.push_back({layer.cross_key(states), layer.cross_value(states)});
  }
  return sight;
}

Tensor Med::embed(const Tensor& ids, bool training) const {
  if (ids.size(1) > config_.max_position_embeddings) {
    throw Error(ErrorCode::usage, "texts of " + std::to_string(ids.size(1)) +
                                      " tokens came; the model has positions for " +
                                      std::to_string(config_.max_position_embeddings));
  }
  // [PAD] is never learnt by being read.
  const Tensor words = at::embedding(word_embeddings_, ids, config_.pad_token_id);
  const Tensor x = embeddings_norm_(words + position_embeddings_.slice(0, 0, ids.size(1)));
  return training && dropout_ > 0 ? at::dropout(x, dropout_, true) : x;
}

Tensor Med::self_attention(std::size_t i, const Tensor& x, const Tensor& mask,
                           bool training) const {
  const Layer& layer = layers_[i];
  const double dropout = training ? dropout_ : 0;
  const Tensor attended = attention(layer.query(x), layer.key(x), layer.value(x),
                                    config_.num_attention_heads, mask, dropout);
  return add_and_normalise(layer.attention_norm, layer.attention_dense(attended), x, dropout);
}

Tensor Med::cross_attention(std::size_t i, const Tensor& x, const KeysValues& seen,
                            const Tensor& mask, bool training) const {
  const Layer& layer = layers_[i];
  const double dropout = training ? dropout_ : 0;
  const Tensor attended = attention(layer.cross_query(x), seen.keys, seen.values,
                                    config_.num_attention_heads, mask, dropout);
  return add_and_normalise(layer.cross_norm, layer.cross_dense(attended), x, dropout);
}

Tensor Med::feed_forward(std::size_t i, const Tensor& x, bool training) const {
  const Layer& layer = layers_[i];
  const Tensor inner = at::gelu(layer.intermediate(x));
  return add_and_normalise(layer.output_norm, layer.output(inner), x, training ? dropout_ : 0);
}

Tensor Med::forward(const Texts& texts, const Sight* sight, bool training,
                    const Probe& probe) const {
  const Tensor mask = additive_mask(texts.mask, texts.causal);
  const Tensor cross_mask = sight == nullptr ? Tensor() : additive_mask(sight->mask, false);
  Tensor x = embed(texts.ids, training);
  if (probe) probe("text.hidden_states.0", x);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const auto layer = [=, this](const Tensor& in, const Tensor& keys, const Tensor& values) {
      Tensor y = self_attention(i, in, mask, training);
      if (keys.defined()) y = cross_attention(i, y, {keys, values}, cross_mask, training);
      return feed_forward(i, y, training);
    };
    const KeysValues seen = sight == nullptr ? KeysValues{} : sight->layers[i];
    x = is_recomputed(i) ? recomputed(layer, x, seen.keys, seen.values)
                         : layer(x, seen.keys, seen.values);
    if (probe) probe("text.hidden_states." + std::to_string(i + 1), x);
  }
  return x;
}

}  // namespace blip::train
