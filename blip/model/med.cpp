#include "blip/model/med.h"

#include <algorithm>
#include <utility>

#include "blip/base/error.h"

namespace blip {
namespace {

/// States of fewer tokens are a text's, such as a question's; more are a picture's.
constexpr std::size_t kFewTokens = 64;

}  // namespace

Med::Med(const TextConfig& config, const Parameters& parameters, const std::string& prefix,
         int cross_width)
    : config_(config),
      attention_{static_cast<std::size_t>(config.num_attention_heads),
                 static_cast<std::size_t>(config.hidden_size / config.num_attention_heads)} {
  const int d = config.hidden_size;
  const float eps = config.layer_norm_eps;
  const std::string embeddings = prefix + "embeddings.";
  word_embeddings_ = parameters.embedding(embeddings + "word_embeddings", config.vocab_size, d);
  position_embeddings_ = parameters.weight(embeddings + "position_embeddings.weight",
                                           {config.max_position_embeddings, d});
  embeddings_norm_ = parameters.layer_norm(embeddings + "LayerNorm", d, eps);
  for (int i = 0; i < config.num_hidden_layers; ++i) {
    const std::string name = prefix + "encoder.layer." + std::to_string(i) + ".";
    Layer layer;
    layer.query = parameters.linear(name + "attention.self.query", d, d);
    layer.key = parameters.linear(name + "attention.self.key", d, d);
    layer.value = parameters.linear(name + "attention.self.value", d, d);
    layer.attention_dense = parameters.linear(name + "attention.output.dense", d, d);
    layer.attention_norm = parameters.layer_norm(name + "attention.output.LayerNorm", d, eps);
    if (cross_width > 0) {
      const std::string cross = name + "crossattention.";
      layer.cross_query = parameters.linear(cross + "self.query", d, d);
      layer.cross_key = parameters.linear(cross + "self.key", d, cross_width);
      layer.cross_value = parameters.linear(cross + "self.value", d, cross_width);
      layer.cross_dense = parameters.linear(cross + "output.dense", d, d);
      layer.cross_norm = parameters.layer_norm(cross + "output.LayerNorm", d, eps);
    }
    layer.intermediate =
        parameters.linear(name + "intermediate.dense", config.intermediate_size, d);
    layer.output = parameters.linear(name + "output.dense", d, config.intermediate_size);
    layer.output_norm = parameters.layer_norm(name + "output.LayerNorm", d, eps);
    layers_.push_back(std::move(layer));
  }
}

void Med::embed(std::span<const int> ids, std::span<const int> positions, Scratch& scratch) const {
  scratch.reserve(config_, ids.size());
  const auto d = static_cast<std::size_t>(config_.hidden_size);
  float* x = scratch.x();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= config_.vocab_size) {
      throw Error(ErrorCode::usage, "token id " + std::to_string(ids[i]) +
                                        " is outside the model's vocabulary of " +
                                        std::to_string(config_.vocab_size));
    }
    if (positions[i] < 0 || positions[i] >= config_.max_position_embeddings) {
      throw Error(ErrorCode::usage, "the text is longer than the " +
                                        std::to_string(config_.max_position_embeddings) +
                                        " tokens that the model has positions for");
    }
    const float* position =
        position_embeddings_.data() + static_cast<std::size_t>(positions[i]) * d;
    word_embeddings_.copy_row(static_cast<std::size_t>(ids[i]), x + i * d);
    for (std::size_t k = 0; k < d; ++k) x[i * d + k] += position[k];
  }
  embeddings_norm_.forward(x, ids.size(), x);
}

void Med::forward(std::size_t rows, const SelfAttention& self_attention,
                  std::span<const CrossGroup> groups, Scratch& scratch, const Context& context,
                  const Probe& probe) const {
  const ThreadScope threads(context);
  const auto show = [&](std::size_t i) {
    const Shape shape = {static_cast<std::int64_t>(rows), config_.hidden_size};
    probe("text.hidden_states." + std::to_string(i), {scratch.x(), element_count(shape)}, shape);
  };
  if (probe) show(0);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    context.check_stop();
    self_attention_sublayer(i, rows, self_attention, scratch);
    if (!groups.empty()) {
      const Layer& layer = layers_[i];
      scratch.apply(layer.cross_query, scratch.x(), rows, scratch.query());
      attend_cross(attention_, groups, i, scratch.query(), scratch.attended());
      scratch.add_and_normalise(layer.cross_dense, layer.cross_norm, scratch.attended(), rows);
    }
    feed_forward_sublayer(i, rows, scratch);
    if (probe) show(i + 1);
  }
}

void Med::self_attention_sublayer(std::size_t i, std::size_t rows,
                                  const SelfAttention& self_attention, Scratch& s) const {
  const Layer& layer = layers_[i];
  const LinearOutput outputs[] = {
      {&layer.query, s.query()}, {&layer.key, s.key_.data()}, {&layer.value, s.value_.data()}};
  s.apply_each(outputs, s.x(), rows);
  self_attention(i, s.query(), s.key_.data(), s.value_.data(), s.attended());
  s.add_and_normalise(layer.attention_dense, layer.attention_norm, s.attended(), rows);
}

void Med::feed_forward_sublayer(std::size_t i, std::size_t rows, Scratch& s) const {
  const Layer& layer = layers_[i];
  s.apply(layer.intermediate, s.x(), rows, s.hidden_.data(), Epilogue::Activation::gelu);
  s.add_and_normalise(layer.output, layer.output_norm, s.hidden_.data(), rows);
}

CrossKeysValues Med::project(std::span<const float> states, std::size_t tokens,
                             const Context& context) const {
  const ThreadScope threads(context);
  context.check_stop();
  std::vector<KeyValueProjection> layers;
  for (const Layer& layer : layers_) layers.push_back({&layer.cross_key, &layer.cross_value});
  return project_keys_values(attention_, layers, states, tokens);
}

void Med::Scratch::reserve(const TextConfig& config, std::size_t rows) {
  if (rows <= rows_) return;
  const std::size_t size = rows * static_cast<std::size_t>(config.hidden_size);
  for (FloatBuffer* buffer : {&x_, &query_, &key_, &value_, &attended_})
    *buffer = FloatBuffer(size);
  hidden_ = FloatBuffer(rows * static_cast<std::size_t>(config.intermediate_size));
  rows_ = rows;
}

void Med::Scratch::apply(const Linear& linear, const float* input, std::size_t rows, float* y,
                         Epilogue::Activation activation, const float* residual) const {
  if (many(linear, rows)) return linear.forward_many(input, rows, y, activation, residual);
  linear.forward(input, rows, y, activation, residual);
}

void Med::Scratch::apply_each(std::span<const LinearOutput> outputs, const float* input,
                              std::size_t rows) const {
  if (!many(*outputs[0].linear, rows)) return Linear::forward_each(input, rows, outputs);
  for (const auto& [linear, y] : outputs) apply(*linear, input, rows, y);
}

bool Med::Scratch::many(const Linear& linear, std::size_t rows) const {
  constexpr std::size_t kManyRows = 64;
  // In int8 a text's activations keep their bits: only the few-rows product leaves them.
  return many_rows_ && rows >= kManyRows && linear.weight().precision == Precision::f32;
}

void Med::Scratch::add_and_normalise(const Linear& dense, const LayerNorm& norm, const float* input,
                                     std::size_t rows) {
  apply(dense, input, rows, query(), Epilogue::Activation::none, x());
  norm.forward(query(), rows, x());
}

void attend_cross(const AttentionShape& shape, std::span<const CrossGroup> groups,
                  std::size_t layer, const float* query, float* context) {
  for (const auto& [image, rows] : groups) {
    const HeadMajor& keys = image->keys[layer];
    const HeadMajor& values = image->values[layer];
    if (keys.bf16() != nullptr) {
      attention_shared(shape, query, rows,
                       SharedKeysValues<std::uint16_t>{keys.bf16(), values.bf16(), image->tokens},
                       context);
    } else {
      attention_shared(shape, query, rows,
                       SharedKeysValues<float>{keys.f32(), values.f32(), image->tokens}, context);
    }
    query += rows * shape.width();
    context += rows * shape.width();
  }
}

CrossKeysValues project_keys_values(const AttentionShape& shape,
                                    std::span<const KeyValueProjection> layers,
                                    std::span<const float> states, std::size_t tokens) {
  const auto room = [&](const Linear& projection) {
    return HeadMajor(shape, tokens,
                     projection.weight().precision == Precision::f32 ? HeadMajor::Type::f32
                                                                     : HeadMajor::Type::bf16);
  };
  CrossKeysValues out;
  out.tokens = tokens;
  std::vector<const Linear*> linears;  // key, value, key, value, ...
  for (const auto& [key, value] : layers) {
    linears.insert(linears.end(), {key, value});
    out.keys.push_back(room(*key));
    out.values.push_back(room(*value));
  }
  const auto put = [&](std::size_t i, const LinearBlock& block) {
    (i % 2 == 0 ? out.keys : out.values)[i / 2].put(block);
  };
  if (tokens >= kFewTokens) {
    Linear::forward_many_each(states.data(), tokens, linears, put);
    return out;
  }
  FloatBuffer y(tokens * shape.width());
  for (std::size_t i = 0; i < linears.size(); ++i) {
    linears[i]->forward(states.data(), tokens, y.data());
    put(i, {0, tokens, {0, shape.width()}, y.data(), shape.width()});
  }
  return out;
}

Med::SelfAttention attend_within(const AttentionShape& shape, std::vector<SequenceLength> lengths) {
  return [shape, lengths = std::move(lengths)](std::size_t, const float* query, const float* key,
                                               const float* value, float* context) {
    const std::size_t d = shape.width();
    std::size_t rows = 0;
    for (const SequenceLength& length : lengths) rows += length.tokens;
    std::vector<const float*> keys(rows), values(rows);
    for (std::size_t i = 0; i < rows; ++i) {
      keys[i] = key + i * d;
      values[i] = value + i * d;
    }
    std::vector<AttentionQuery> queries;
    std::size_t first = 0;
    for (const SequenceLength& length : lengths) {
      const std::size_t seen = length.tokens - length.padding;
      for (std::size_t i = first; i < first + length.tokens; ++i) {
        queries.push_back(
            {query + i * d, {&keys[first], seen}, {&values[first], seen}, context + i * d});
      }
      first += length.tokens;
    }
    attention_cached(shape, queries);
  };
}

}  // namespace blip
