#include "blip/model/attention_maps.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace blip {
namespace {

std::int64_t extent(std::size_t n) {
  return static_cast<std::int64_t>(n);
}

Tensor zeros(Shape shape) {
  Tensor tensor(std::move(shape));
  std::fill_n(tensor.data(), tensor.size(), 0.0f);
  return tensor;
}

float dot(const float* a, const float* b, std::size_t size) {
  float sum = 0;
  for (std::size_t i = 0; i < size; ++i) sum += a[i] * b[i];
  return sum;
}

/// y += a * x
void add_scaled(float a, const float* x, std::size_t size, float* y) {
  for (std::size_t i = 0; i < size; ++i) y[i] += a * x[i];
}

Tensor apply(const Linear& linear, const Tensor& x) {
  Tensor y({x.dim(0), extent(linear.out_features())});
  linear.forward(x.data(), static_cast<std::size_t>(x.dim(0)), y.data());
  return y;
}

/// dx += dy W
void add_backward(const Linear& linear, const Tensor& dy, Tensor& dx) {
  const std::size_t in = linear.in_features(), out = linear.out_features();
  FloatBuffer weights(in);
  for (std::size_t o = 0; o < out; ++o) {
    linear.weight().copy_row(o, weights.data());
    for (std::size_t r = 0; r < static_cast<std::size_t>(dx.dim(0)); ++r)
      add_scaled(dy.data()[r * out + o], weights.data(), in, dx.data() + r * in);
  }
}

Tensor backward(const Linear& linear, const Tensor& dy) {
  Tensor dx = zeros({dy.dim(0), extent(linear.in_features())});
  add_backward(linear, dy, dx);
  return dx;
}

float gaussian(float x) {  // Phi, the cumulative distribution
  return 0.5f * (1 + std::erf(x * 0.70710678f));
}

Tensor gelu(const Tensor& x) {
  Tensor y(x.shape());
  for (std::size_t i = 0; i < x.size(); ++i) y.data()[i] = x.data()[i] * gaussian(x.data()[i]);
  return y;
}

/// d becomes the gradient of GELU's input `x`.
void gelu_backward(const Tensor& x, Tensor& d) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float v = x.data()[i];
    d.data()[i] *= gaussian(v) + v * 0.39894228f * std::exp(-0.5f * v * v);
  }
}

/// What backpropagation needs of a layer normalisation.
struct NormRecord {
  Tensor normalised;            // [T, D]
  std::vector<double> inverse;  // [T]: of the standard deviation
};

/// x = LayerNorm(x)
NormRecord normalise(const LayerNorm& norm, Tensor& x) {
  NormRecord record{Tensor(x.shape()), {}};
  const std::size_t width = norm.gamma.size();
  for (std::size_t r = 0; r < static_cast<std::size_t>(x.dim(0)); ++r) {
    const std::span<float> row = x[r], normalised = record.normalised[r];
    double mean = 0, variance = 0;
    for (const float v : row) mean += double{v};
    mean /= static_cast<double>(width);
    for (const float v : row) variance += (double{v} - mean) * (double{v} - mean);
    const double inverse = 1 / std::sqrt(variance / static_cast<double>(width) + double{norm.eps});
    record.inverse.push_back(inverse);
    for (std::size_t i = 0; i < width; ++i) {
      normalised[i] = static_cast<float>((double{row[i]} - mean) * inverse);
      row[i] = normalised[i] * norm.gamma.data()[i] + norm.beta.data()[i];
    }
  }
  return record;
}

/// d, the gradient of the normalisation's output, becomes that of its input.
void normalise_backward(const LayerNorm& norm, const NormRecord& record, Tensor& d) {
  const std::size_t width = norm.gamma.size();
  for (std::size_t r = 0; r < record.inverse.size(); ++r) {
    const std::span<float> row = d[r];
    const std::span<const float> normalised = record.normalised[r];
    double mean = 0, along = 0;
    for (std::size_t i = 0; i < width; ++i) {
      row[i] *= norm.gamma.data()[i];
      mean += double{row[i]};
      along += double{row[i]} * double{normalised[i]};
    }
    mean /= static_cast<double>(width);
    along /= static_cast<double>(width);
    for (std::size_t i = 0; i < width; ++i) {
      row[i] = static_cast<float>((double{row[i]} - mean - double{normalised[i]} * along) *
                                  record.inverse[r]);
    }
  }
}

/// Queries [rows, D] that attend to keys and values of all heads, wherever these lie.
struct Attention {
  AttentionShape shape;
  const Tensor& query;
  const float* keys;
  const float* values;
  std::size_t tokens;
  std::size_t head_stride;
  std::size_t token_stride;
  bool causal;

  std::size_t rows() const { return static_cast<std::size_t>(query.dim(0)); }
  std::size_t at(std::size_t row, std::size_t head) const {
    return row * shape.width() + head * shape.head_size;
  }
  std::size_t kv_at(std::size_t head, std::size_t token) const {
    return head * head_stride + token * token_stride;
  }
  float scale() const { return 1 / std::sqrt(static_cast<float>(shape.head_size)); }
  Tensor map() const { return zeros({extent(shape.heads), extent(rows()), extent(tokens)}); }

  Tensor probabilities() const;
  Tensor context(const Tensor& probabilities) const;
  /// The gradient of the probabilities, given that of the context.
  Tensor map_gradient(const Tensor& d_context) const;
  /// Given the gradient of the probabilities: of the scores, scale included.
  Tensor score_gradient(const Tensor& probabilities, const Tensor& gradient) const;
  Tensor query_gradient(const Tensor& d_scores) const;
};

Tensor Attention::probabilities() const {
  Tensor all = map();
  float* p = all.data();
  for (std::size_t head = 0; head < shape.heads; ++head) {
    for (std::size_t r = 0; r < rows(); ++r, p += tokens) {
      const std::size_t seen = causal ? r + 1 : tokens;
      for (std::size_t t = 0; t < seen; ++t)
        p[t] = scale() * dot(query.data() + at(r, head), keys + kv_at(head, t), shape.head_size);
      const float top = *std::max_element(p, p + seen);
      double sum = 0;
      for (std::size_t t = 0; t < seen; ++t) {
        p[t] = std::exp(p[t] - top);
        sum += double{p[t]};
      }
      for (std::size_t t = 0; t < seen; ++t) p[t] = static_cast<float>(double{p[t]} / sum);
    }
  }
  return all;
}

Tensor Attention::context(const Tensor& probabilities) const {
  Tensor out = zeros(query.shape());
  const float* p = probabilities.data();
  for (std::size_t head = 0; head < shape.heads; ++head) {
    for (std::size_t r = 0; r < rows(); ++r, p += tokens) {
      for (std::size_t t = 0; t < tokens; ++t)
        add_scaled(p[t], values + kv_at(head, t), shape.head_size, out.data() + at(r, head));
    }
  }
  return out;
}

Tensor Attention::map_gradient(const Tensor& d_context) const {
  Tensor gradient = map();
  float* g = gradient.data();
  for (std::size_t head = 0; head < shape.heads; ++head) {
    for (std::size_t r = 0; r < rows(); ++r, g += tokens) {
      for (std::size_t t = 0; t < tokens; ++t)
        g[t] = dot(d_context.data() + at(r, head), values + kv_at(head, t), shape.head_size);
    }
  }
  return gradient;
}

Tensor Attention::score_gradient(const Tensor& probabilities, const Tensor& gradient) const {
  Tensor d_scores = map();
  for (std::size_t i = 0; i < d_scores.size(); i += tokens) {
    const float* p = probabilities.data() + i;
    const float* g = gradient.data() + i;
    const float mean = dot(p, g, tokens);
    for (std::size_t t = 0; t < tokens; ++t)
      d_scores.data()[i + t] = p[t] * (g[t] - mean) * scale();
  }
  return d_scores;
}

Tensor Attention::query_gradient(const Tensor& d_scores) const {
  Tensor d_query = zeros(query.shape());
  const float* d = d_scores.data();
  for (std::size_t head = 0; head < shape.heads; ++head) {
    for (std::size_t r = 0; r < rows(); ++r, d += tokens) {
      for (std::size_t t = 0; t < tokens; ++t)
        add_scaled(d[t], keys + kv_at(head, t), shape.head_size, d_query.data() + at(r, head));
    }
  }
  return d_query;
}

/// [heads, rows, tokens] transposed by `weights`: to[token] += weights[head, row, token] *
/// from[row], head by head; `from` and `to` are [T, D].
void add_transposed(const AttentionShape& shape, const Tensor& weights, const Tensor& from,
                    Tensor& to) {
  const auto rows = static_cast<std::size_t>(from.dim(0)),
             tokens = static_cast<std::size_t>(to.dim(0));
  const float* w = weights.data();
  for (std::size_t head = 0; head < shape.heads; ++head) {
    for (std::size_t r = 0; r < rows; ++r, w += tokens) {
      for (std::size_t t = 0; t < tokens; ++t) {
        add_scaled(w[t], from.data() + r * shape.width() + head * shape.head_size, shape.head_size,
                   to.data() + t * shape.width() + head * shape.head_size);
      }
    }
  }
}

/// What a layer computed on its way up.
struct LayerRecord {
  Tensor query, key, value;   // [T, D]
  Tensor self_probabilities;  // [heads, T, T]
  NormRecord attention_norm;
  Tensor cross_query;          // [T, D]
  Tensor cross_probabilities;  // [heads, T, N]
  NormRecord cross_norm;
  Tensor intermediate;  // [T, I] before GELU
  NormRecord output_norm;
};

/// One layer with what it attends to.
class TracedLayer {
 public:
  TracedLayer(const Med& med, std::size_t i, const CrossKeysValues& image, bool causal)
      : layer_(med.layer(i)),
        shape_(med.attention()),
        keys_(image.keys[i].widened()),
        values_(image.values[i].widened()),
        image_tokens_(image.tokens),
        causal_(causal) {}

  /// x [T, D] in place.
  LayerRecord forward(Tensor& x) const;
  /// d, the gradient of the layer's output, becomes that of its input where `to_input`; returns the
  /// gradient of the cross-attention's probabilities.
  Tensor backward(const LayerRecord& record, bool to_input, Tensor& d) const;

 private:
  Attention to_text(const LayerRecord& record) const {
    const auto tokens = static_cast<std::size_t>(record.key.dim(0));
    return {shape_, record.query,     record.key.data(), record.value.data(),
            tokens, shape_.head_size, shape_.width(),    causal_};
  }
  Attention to_image(const LayerRecord& record) const {
    return {shape_,           record.cross_query,
            keys_.data(),     values_.data(),
            image_tokens_,    image_tokens_ * shape_.head_size,
            shape_.head_size, false};
  }

  const Med::Layer& layer_;
  AttentionShape shape_;
  std::vector<float> keys_, values_;  // [heads, image_tokens, head_size]
  std::size_t image_tokens_;
  bool causal_;
};

/// x = LayerNorm(x + dense(input)): how each sublayer ends.
NormRecord end_sublayer(const Linear& dense, const LayerNorm& norm, const Tensor& input,
                        Tensor& x) {
  const Tensor y = apply(dense, input);
  for (std::size_t i = 0; i < x.size(); ++i) x.data()[i] += y.data()[i];
  return normalise(norm, x);
}

LayerRecord TracedLayer::forward(Tensor& x) const {
  LayerRecord record;
  record.query = apply(layer_.query, x);
  record.key = apply(layer_.key, x);
  record.value = apply(layer_.value, x);
  const Attention self = to_text(record);
  record.self_probabilities = self.probabilities();
  record.attention_norm = end_sublayer(layer_.attention_dense, layer_.attention_norm,
                                       self.context(record.self_probabilities), x);

  record.cross_query = apply(layer_.cross_query, x);
  const Attention cross = to_image(record);
  record.cross_probabilities = cross.probabilities();
  record.cross_norm = end_sublayer(layer_.cross_dense, layer_.cross_norm,
                                   cross.context(record.cross_probabilities), x);

  record.intermediate = apply(layer_.intermediate, x);
  record.output_norm =
      end_sublayer(layer_.output, layer_.output_norm, gelu(record.intermediate), x);
  return record;
}

Tensor TracedLayer::backward(const LayerRecord& record, bool to_input, Tensor& d) const {
  // In each sublayer, LayerNorm(x + dense(...)), d passes on to x as it is, and is added to.
  normalise_backward(layer_.output_norm, record.output_norm, d);
  Tensor d_inner = blip::backward(layer_.output, d);
  gelu_backward(record.intermediate, d_inner);
  add_backward(layer_.intermediate, d_inner, d);

  normalise_backward(layer_.cross_norm, record.cross_norm, d);
  const Attention cross = to_image(record);
  Tensor gradient = cross.map_gradient(blip::backward(layer_.cross_dense, d));
  if (!to_input) return gradient;
  add_backward(layer_.cross_query,
               cross.query_gradient(cross.score_gradient(record.cross_probabilities, gradient)), d);

  normalise_backward(layer_.attention_norm, record.attention_norm, d);
  const Attention self = to_text(record);
  const Tensor d_context = blip::backward(layer_.attention_dense, d);
  const Tensor d_scores =
      self.score_gradient(record.self_probabilities, self.map_gradient(d_context));
  Tensor d_key = zeros(record.key.shape()), d_value = zeros(record.value.shape());
  add_transposed(shape_, d_scores, record.query, d_key);
  add_transposed(shape_, record.self_probabilities, d_context, d_value);
  add_backward(layer_.query, self.query_gradient(d_scores), d);
  add_backward(layer_.key, d_key, d);
  add_backward(layer_.value, d_value, d);
  return gradient;
}

}  // namespace

std::vector<AttentionMap> attention_maps(const Med& med, const CrossKeysValues& image,
                                         const AttentionTrace& trace, const Context& context) {
  const ThreadScope threads(context);
  std::vector<int> positions(trace.tokens.size());
  std::iota(positions.begin(), positions.end(), 0);
  Med::Scratch scratch;
  med.embed(trace.tokens, positions, scratch);
  Tensor x({extent(trace.tokens.size()), med.config().hidden_size});
  std::copy_n(scratch.x(), x.size(), x.data());

  std::vector<TracedLayer> layers;
  std::vector<LayerRecord> records;
  for (std::size_t i = 0; i < med.num_layers(); ++i) {
    context.check_stop();
    layers.emplace_back(med, i, image, trace.causal);
    LayerRecord record = layers.back().forward(x);
    records.push_back(i < trace.first_layer ? LayerRecord() : std::move(record));
  }

  std::vector<AttentionMap> maps(med.num_layers() - trace.first_layer);
  if (!trace.logit_weights.empty()) {
    Tensor d = zeros(x.shape());
    std::copy(trace.logit_weights.begin(), trace.logit_weights.end(), d.data());
    for (std::size_t i = med.num_layers(); i-- > trace.first_layer;) {
      context.check_stop();
      maps[i - trace.first_layer].gradient =
          layers[i].backward(records[i], i > trace.first_layer, d);
    }
  }
  for (std::size_t m = 0; m < maps.size(); ++m)
    maps[m].probabilities = std::move(records[trace.first_layer + m].cross_probabilities);
  return maps;
}

}  // namespace blip
