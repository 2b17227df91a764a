#include "blip/model/nlvr_encoder.h"

#include <algorithm>
#include <string>
#include <utility>

namespace blip {
namespace {

constexpr int kFirstMergingLayer = 6;

}  // namespace

NlvrEncoder::NlvrEncoder(const TextConfig& config, const Parameters& parameters, int cross_width)
    : med_(config, parameters, "text_encoder.", 0) {
  const int d = config.hidden_size;
  for (int i = 0; i < config.num_hidden_layers; ++i) {
    const std::string cross =
        "text_encoder.encoder.layer." + std::to_string(i) + ".crossattention.";
    Layer layer;
    for (int b = 0; b < 2; ++b) {
      const std::string self = cross + "self" + std::to_string(b) + ".";
      layer.branches[b] = {
          .query = parameters.linear(self + "query", d, d),
          .key = parameters.linear(self + "key", d, cross_width),
          .value = parameters.linear(self + "value", d, cross_width),
          .dense = parameters.linear(cross + "output.dense" + std::to_string(b), d, d),
      };
    }
    layer.merges = i >= kFirstMergingLayer;
    if (layer.merges) layer.merge_layer = parameters.linear(cross + "output.merge_layer", d, 2 * d);
    layer.norm = parameters.layer_norm(cross + "output.LayerNorm", d, config.layer_norm_eps);
    layers_.push_back(std::move(layer));
  }
}

CrossKeysValues NlvrEncoder::attend_to(int branch, std::span<const float> states,
                                       std::size_t tokens, const Context& context) const {
  const ThreadScope threads(context);
  context.check_stop();
  std::vector<KeyValueProjection> layers;
  for (const Layer& layer : layers_) {
    layers.push_back({&layer.branches[branch].key, &layer.branches[branch].value});
  }
  return project_keys_values(med_.attention(), layers, states, tokens);
}

void NlvrEncoder::cross_attention_sublayer(std::size_t i, std::size_t rows,
                                           std::span<const CrossKeysValues* const, 2> images,
                                           Med::Scratch& s) const {
  const Layer& layer = layers_[i];
  const std::size_t d = med_.attention().width();
  FloatBuffer output(rows * d), pair(rows * 2 * d);
  for (std::size_t b = 0; b < 2; ++b) {
    const CrossGroup group{images[b], rows};
    layer.branches[b].query.forward(s.x(), rows, s.query());
    attend_cross(med_.attention(), {&group, 1}, i, s.query(), s.attended());
    layer.branches[b].dense.forward(s.attended(), rows, output.data());
    for (std::size_t r = 0; r < rows; ++r)
      std::copy_n(output.data() + r * d, d, pair.data() + (2 * r + b) * d);
  }
  float* merged = s.query();
  if (layer.merges) {
    layer.merge_layer.forward(pair.data(), rows, merged, Epilogue::Activation::none, s.x());
  } else {
    for (std::size_t r = 0; r < rows; ++r) {
      const float* first = pair.data() + 2 * r * d;
      for (std::size_t k = 0; k < d; ++k) {
        merged[r * d + k] = (first[k] + first[d + k]) * 0.5f + s.x()[r * d + k];
      }
    }
  }
  layer.norm.forward(merged, rows, s.x());
}

Tensor NlvrEncoder::forward(std::span<const std::vector<int>> statements,
                            std::span<const CrossKeysValues* const, 2> images,
                            const Context& context, const Probe& probe) const {
  const ThreadScope threads(context);
  std::vector<int> ids, positions;
  std::vector<SequenceLength> lengths;
  for (const std::vector<int>& statement : statements) {
    ids.insert(ids.end(), statement.begin(), statement.end());
    for (std::size_t t = 0; t < statement.size(); ++t) positions.push_back(static_cast<int>(t));
    lengths.push_back({statement.size()});
  }
  const std::size_t rows = ids.size();
  const Shape shape = {static_cast<std::int64_t>(rows), config().hidden_size};
  Med::Scratch scratch;
  med_.embed(ids, positions, scratch);
  const std::span<const float> x(scratch.x(), element_count(shape));
  const Med::SelfAttention self_attention = attend_within(med_.attention(), std::move(lengths));
  if (probe) probe("text.hidden_states.0", x, shape);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    context.check_stop();
    med_.self_attention_sublayer(i, rows, self_attention, scratch);
    cross_attention_sublayer(i, rows, images, scratch);
    med_.feed_forward_sublayer(i, rows, scratch);
    if (probe) probe("text.hidden_states." + std::to_string(i + 1), x, shape);
  }
  Tensor hidden(shape);
  std::copy_n(scratch.x(), hidden.size(), hidden.data());
  return hidden;
}

}  // namespace blip
