#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/tensor.h"
#include "blip/checkpoint/config.h"
#include "blip/checkpoint/tensor_store.h"
#include "blip/model/head_major.h"
#include "blip/model/parameters.h"
#include "blip/model/probe.h"
#include "blip/ops/attention.h"

namespace blip {

/// What cross-attention reads: keys and values of one encoded picture (or question) in every
/// layer. Computed once, shared by all sequences that look at it.
struct CrossKeysValues {
  std::size_t tokens = 0;
  std::vector<HeadMajor> keys;    ///< per layer
  std::vector<HeadMajor> values;  ///< per layer
};

/// Consecutive tokens of a batch that look at the same picture.
struct CrossGroup {
  const CrossKeysValues* image;
  std::size_t rows;
};

/// Cross-attention of `layer`: `query` [M, D] of all groups, one after the other -> `context` [M,
/// D].
void attend_cross(const AttentionShape& shape, std::span<const CrossGroup> groups,
                  std::size_t layer, const float* query, float* context);

/// The multimodal mixture of encoder-decoder (paper section 3.1): one BERT whose layers serve as
/// text encoder, image-grounded text encoder and image-grounded text decoder. The roles differ in
/// which tokens self-attention sees and in what cross-attention looks at; both are arguments.
/// Immutable. M: tokens of all sequences of a batch together, without padding.
class Med {
 public:
  /// Memory for a pass over up to some number of tokens, reused from pass to pass.
  class Scratch;

  /// Self-attention of a role: `query`, `key`, `value` [M, D] of `layer` -> `context` [M, D].
  using SelfAttention = std::function<void(std::size_t layer, const float* query, const float* key,
                                           const float* value, float* context)>;

  /// The parameters of a layer; those of cross-attention are empty in a text encoder without it.
  struct Layer {
    Linear query, key, value;  // attention.self.* [D, D]
    Linear attention_dense;    // attention.output.dense [D, D]
    LayerNorm attention_norm;  // attention.output.LayerNorm [D]
    Linear cross_query;        // crossattention.self.query [D, D]
    Linear cross_key;          // crossattention.self.key [D, cross_width]
    Linear cross_value;        // crossattention.self.value [D, cross_width]
    Linear cross_dense;        // crossattention.output.dense [D, D]
    LayerNorm cross_norm;      // crossattention.output.LayerNorm [D]
    Linear intermediate;       // intermediate.dense [I, D]
    Linear output;             // output.dense [D, I]
    LayerNorm output_norm;     // output.LayerNorm [D]
  };

  /// Reads "<prefix>embeddings.*" and "<prefix>encoder.layer.*". `cross_width` is the width of what
  /// cross-attention attends to; 0: no cross-attention is read.
  Med(const TextConfig& config, const Parameters& parameters, const std::string& prefix,
      int cross_width);

  const TextConfig& config() const { return config_; }
  const AttentionShape& attention() const { return attention_; }
  std::size_t num_layers() const { return layers_.size(); }
  const Layer& layer(std::size_t i) const { return layers_[i]; }

  /// LayerNorm(word_embeddings[ids] + position_embeddings[positions]) -> scratch.x() [M, D], with
  /// room made for M tokens. Throws Error{usage} for an id or position out of range.
  void embed(std::span<const int> ids, std::span<const int> positions, Scratch& scratch) const;

  /// All layers over scratch.x() [M, D], in place. `groups` cover the M tokens; empty: the text
  /// looks at nothing and cross-attention is left out.
  void forward(std::size_t rows, const SelfAttention& self_attention,
               std::span<const CrossGroup> groups, Scratch& scratch, const Context& context,
               const Probe& probe = {}) const;

  /// The two sublayers that every role has, over scratch.x() in place; forward() is made of them.
  void self_attention_sublayer(std::size_t layer, std::size_t rows,
                               const SelfAttention& self_attention, Scratch& scratch) const;
  void feed_forward_sublayer(std::size_t layer, std::size_t rows, Scratch& scratch) const;

  /// `states` [tokens, cross_width] through every layer's key and value projections.
  CrossKeysValues project(std::span<const float> states, std::size_t tokens,
                          const Context& context) const;

 private:
  TextConfig config_;
  AttentionShape attention_;
  WeightMatrix word_embeddings_;  // embeddings.word_embeddings [V, D]
  Weight position_embeddings_;    // embeddings.position_embeddings [P, D]
  LayerNorm embeddings_norm_;     // embeddings.LayerNorm [D]
  std::vector<Layer> layers_;
};

class Med::Scratch {
 public:
  /// Makes room for `rows` tokens; keeps the memory when it is enough.
  void reserve(const TextConfig& config, std::size_t rows);

  float* x() { return x_.data(); }                ///< [M, D] the hidden states
  float* query() { return query_.data(); }        ///< [M, D]
  float* attended() { return attended_.data(); }  ///< [M, D]

  /// Lets large batches be multiplied as pictures are: faster, but the last bits of a row then
  /// depend on the size of its batch.
  void allow_many_rows() { many_rows_ = true; }

  /// y = activation(linear(input)) + residual for `rows` rows.
  void apply(const Linear& linear, const float* input, std::size_t rows, float* y,
             Epilogue::Activation activation = Epilogue::Activation::none,
             const float* residual = nullptr) const;
  /// apply() of several layers that are alike to the same input.
  void apply_each(std::span<const LinearOutput> outputs, const float* input,
                  std::size_t rows) const;

  /// x = LayerNorm(x + dense(input)): how BERT ends each sublayer.
  void add_and_normalise(const Linear& dense, const LayerNorm& norm, const float* input,
                         std::size_t rows);

 private:
  friend class Med;
  bool many(const Linear& linear, std::size_t rows) const;

  FloatBuffer x_, query_, key_, value_, attended_, hidden_;
  std::size_t rows_ = 0;
  bool many_rows_ = false;
};

/// Projections [D, cross_width] of a layer of cross-attention.
struct KeyValueProjection {
  const Linear* key;
  const Linear* value;
};

/// `states` [tokens, cross_width] through the projections of every layer; kept in bf16 where their
/// weights are narrower than f32.
CrossKeysValues project_keys_values(const AttentionShape& shape,
                                    std::span<const KeyValueProjection> layers,
                                    std::span<const float> states, std::size_t tokens);

/// A sequence of a batch. Padding is computed but seen by no token: only to give what a reference's
/// padded batches give.
struct SequenceLength {
  std::size_t tokens;
  std::size_t padding = 0;  ///< how many of them, at the end
};

/// Bidirectional self-attention over sequences that lie one after the other; their tokens sum to M.
Med::SelfAttention attend_within(const AttentionShape& shape, std::vector<SequenceLength> lengths);

}  // namespace blip
