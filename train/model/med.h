#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "train/model/parameters.h"
#include "train/model/vision_encoder.h"

namespace blip::train {

/// Keys and values [B, N, D] of what cross-attention looks at, in one layer.
struct KeysValues {
  torch::Tensor keys, values;
};

/// Texts as they go through the layers.
struct Texts {
  torch::Tensor ids;    ///< [B, T] i64
  torch::Tensor mask;   ///< [B, T], 1 where there is a token
  bool causal = false;  ///< each token sees those before it alone: the decoder
};

/// What texts look at.
struct Sight {
  std::vector<KeysValues> layers;  ///< Med::project()
  torch::Tensor mask;  ///< [B, N], 1 where there is something to see; undefined: everywhere

  /// The same for texts of which the i-th looks at the rows[i]-th.
  Sight select(const torch::Tensor& rows) const;
};

/// BERT with cross-attention: the layers that all text roles of BLIP share.
class Med {
 public:
  /// Makes "<prefix>embeddings.*" and "<prefix>encoder.layer.*". `cross_width` is the width of what
  /// cross-attention looks at; 0: there is none.
  Med(const TaskOptions& options, Parameters& parameters, const std::string& prefix,
      int cross_width);

  /// Last hidden states [B, T, D]. Throws Error{usage} for texts longer than the model's positions.
  /// `sight` nullptr: the texts look at nothing.
  torch::Tensor forward(const Texts& texts, const Sight* sight, bool training,
                        const Probe& probe = {}) const;

  /// `states` [B, N, cross_width] as every layer looks at it.
  Sight project(const torch::Tensor& states) const;

  const torch::Tensor& word_embeddings() const { return word_embeddings_; }  ///< [V, D]

  /// The parts of forward(), for encoders that look otherwise.
  torch::Tensor embed(const torch::Tensor& ids, bool training) const;
  torch::Tensor self_attention(std::size_t layer, const torch::Tensor& x, const torch::Tensor& mask,
                               bool training) const;
  torch::Tensor feed_forward(std::size_t layer, const torch::Tensor& x, bool training) const;
  std::size_t num_layers() const { return layers_.size(); }
  bool is_recomputed(std::size_t layer) const { return layer >= first_recomputed_; }

 private:
  struct Layer {
    Linear query, key, value, attention_dense;
    LayerNorm attention_norm;
    Linear cross_query, cross_key, cross_value, cross_dense;
    LayerNorm cross_norm;
    Linear intermediate, output;
    LayerNorm output_norm;
  };

  torch::Tensor cross_attention(std::size_t layer, const torch::Tensor& x, const KeysValues& seen,
                                const torch::Tensor& mask, bool training) const;

  TextConfig config_;
  double dropout_;
  std::size_t first_recomputed_;
  torch::Tensor word_embeddings_, position_embeddings_;
  LayerNorm embeddings_norm_;
  std::vector<Layer> layers_;
};

/// LayerNorm(x + dropout(branch)): how BERT ends each sublayer.
torch::Tensor add_and_normalise(const LayerNorm& norm, const torch::Tensor& branch,
                                const torch::Tensor& x, double dropout);

}  // namespace blip::train
