#pragma once

#include "train/model/task.h"

namespace blip::train::testing {

/// A model of a few thousand parameters, without dropout.
inline TaskOptions tiny_options() {
  TaskOptions options;
  VisionConfig& vision = options.config.vision;
  vision = {.hidden_size = 16,
            .intermediate_size = 32,
            .num_hidden_layers = 2,
            .num_attention_heads = 2,
            .image_size = 32,
            .patch_size = 16,
            .layer_norm_eps = 1e-6f};
  TextConfig& text = options.config.text;
  text.vocab_size = 60;
  text.hidden_size = 12;
  text.intermediate_size = 24;
  text.num_hidden_layers = 2;
  text.num_attention_heads = 2;
  text.max_position_embeddings = 16;
  text.bos_token_id = 58;
  text.sep_token_id = 3;
  options.config.image_text_hidden_size = 8;
  options.cls_token_id = 2;
  options.enc_token_id = 59;
  options.queue_size = 16;
  options.dropout = 0;
  options.alpha_ramp_epochs = 0;
  return options;
}

/// A batch that fits every task but NLVR2, whose picture count is twice as large: random pictures
/// and texts of different lengths. Two captions belong to one picture.
inline Batch tiny_batch(std::int64_t size, std::uint64_t seed, std::int64_t pictures = 0) {
  torch::manual_seed(seed);
  Batch batch;
  batch.pixel_values = torch::randn({pictures == 0 ? size : pictures, 3, 32, 32});
  batch.input_ids = torch::randint(4, 58, {size, 7}, torch::kLong);
  batch.input_ids.select(1, 0).fill_(2);
  batch.attention_mask = torch::ones_like(batch.input_ids);
  for (std::int64_t i = 0; i < size; ++i) {
    const std::int64_t length = 4 + i % 4;
    batch.input_ids[i].slice(0, length).fill_(0);
    batch.attention_mask[i].slice(0, length).fill_(0);
  }
  batch.prompt_lengths = torch::full({size}, 2, torch::kLong);
  batch.image_ids = torch::arange(size);
  if (size > 3) batch.image_ids[1] = batch.image_ids[0];
  batch.answer_ids = batch.input_ids.flip(0).clone();
  batch.answer_mask = batch.attention_mask.flip(0).clone();
  batch.answer_counts = torch::ones({size}, torch::kLong);
  batch.answer_weights = torch::linspace(0.3, 1, size);
  batch.labels = torch::arange(size) % 2;
  return batch;
}

inline torch::Tensor sum_of(const Losses& losses) {
  torch::Tensor sum = torch::zeros({});
  for (const auto& [name, value] : losses) sum = sum + value;
  return sum;
}

}  // namespace blip::train::testing
