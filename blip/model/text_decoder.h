#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "blip/base/context.h"
#include "blip/model/key_value_cache.h"
#include "blip/model/med.h"

namespace blip {

/// What changes while texts are decoded; the model itself never does.
class DecoderState {
 public:
  explicit DecoderState(const TextConfig& config)
      : cache(static_cast<std::size_t>(config.num_hidden_layers),
              static_cast<std::size_t>(config.hidden_size)) {}

  KeyValueCache cache;
  Med::Scratch scratch;

 private:
  friend class TextDecoder;

  /// Of one step; the memory serves the next one.
  struct Step {
    std::vector<KeyValueCache::Row> cache_rows;
    std::vector<int> ids, positions;    ///< of every new token
    std::vector<std::size_t> sequence;  ///< that a new token belongs to
    std::vector<std::size_t> first;     ///< of each sequence's tokens, among `keys`; then their sum
    std::vector<const float*> keys, values;  ///< of all tokens of all sequences, in one layer
    std::vector<AttentionQuery> queries;
    std::vector<CrossGroup> groups;
    FloatBuffer head;  ///< [rows, D] what the language-modelling head makes on its way
  };
  Step step_;
};

/// A sequence to extend by one or more tokens.
struct DecoderRow {
  int parent = -1;              ///< sequence of the step before that it goes on from; -1: none
  std::span<const int> tokens;  ///< at least one; none, in step_all_logits(), keeps the sequence
                                ///< for a later step
  const CrossKeysValues* image = nullptr;  ///< what it looks at
};

/// The image-grounded text decoder: causal self-attention with a cache, cross-attention to the
/// picture, language-modelling head. Immutable.
class TextDecoder {
 public:
  /// Reads "text_decoder.*"; `cross_width` is the width of what it attends to.
  TextDecoder(const TextConfig& config, const Parameters& parameters, int cross_width);

  const TextConfig& config() const { return med_.config(); }
  const Med& med() const { return med_; }

  /// Keys and values of `states` [tokens, cross_width], such as image_embeds, for every layer.
  CrossKeysValues attend_to(std::span<const float> states, std::size_t tokens,
                            const Context& context) const {
    return med_.project(states, tokens, context);
  }

  /// Extends the sequences of `state` by `rows` and writes the logits [rows, V] after each row's
  /// last token. Rows of different lengths mix freely and do not influence each other.
  /// Throws Error{usage} beyond max_position_embeddings, Error{cancelled}.
  void step(DecoderState& state, std::span<const DecoderRow> rows, std::span<float> logits,
            const Context& context) const;

  /// The same with the logits after every token, [tokens of all rows, V].
  void step_all_logits(DecoderState& state, std::span<const DecoderRow> rows,
                       std::span<float> logits, const Context& context,
                       const Probe& probe = {}) const;

 private:
  /// Gives `rows` their places in the cache and says in state.step_ what its new tokens attend to.
  static void lay_out(DecoderState& state, std::span<const DecoderRow> rows);
  /// Causal self-attention of a layer's new tokens, whose keys and values go into the cache.
  void attend(DecoderState& state, std::size_t layer, const float* query, const float* key,
              const float* value, float* out) const;
  /// Leaves the last hidden states of all new tokens in state.scratch.x(); returns their number.
  std::size_t hidden_states(DecoderState& state, std::span<const DecoderRow> rows,
                            const Context& context, const Probe& probe) const;
  /// decoder(LayerNorm(gelu(dense(x)))) of state.scratch.x() [rows, D] -> `logits` [rows, V].
  void language_model_head(DecoderState& state, std::size_t rows, float* logits,
                           const Context& context, const Probe& probe) const;

  Med med_;
  Linear transform_;          // cls.predictions.transform.dense [D, D]
  LayerNorm transform_norm_;  // cls.predictions.transform.LayerNorm [D]
  Linear decoder_;            // cls.predictions.decoder [V, D]; the word embeddings when tied
};

}  // namespace blip
