#include "blip/model/text_decoder.h"

#include <algorithm>
#include <vector>

namespace blip {
namespace {

const std::string kPredictions = "text_decoder.cls.predictions.";

Weight output_bias(const Parameters& parameters, int vocab_size) {
  const std::string name = kPredictions + "bias";
  return parameters.weight(parameters.contains(name) ? name : kPredictions + "decoder.bias",
                           {vocab_size});
}

}  // namespace

TextDecoder::TextDecoder(const TextConfig& config, const Parameters& parameters, int cross_width)
    : med_(config, parameters, "text_decoder.bert.", cross_width) {
  const int d = config.hidden_size;
  transform_ = parameters.linear(kPredictions + "transform.dense", d, d);
  transform_norm_ =
      parameters.layer_norm(kPredictions + "transform.LayerNorm", d, config.layer_norm_eps);
  decoder_ = Linear(parameters.matrix(kPredictions + "decoder", config.vocab_size, d,
                                      "text_decoder.bert.embeddings.word_embeddings"),
                    output_bias(parameters, config.vocab_size));
}

std::size_t TextDecoder::hidden_states(DecoderState& state, std::span<const DecoderRow> rows,
                                       const Context& context, const Probe& probe) const {
  std::vector<KeyValueCache::Row> cache_rows;
  for (const DecoderRow& row : rows) cache_rows.push_back({row.parent, row.tokens.size()});
  state.cache.advance(cache_rows);

  // One entry per new token: its id, position, and which sequence it belongs to.
  std::vector<int> ids, positions;
  std::vector<std::size_t> sequence;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const std::size_t start = state.cache.slots(r).size() - rows[r].tokens.size();
    for (std::size_t t = 0; t < rows[r].tokens.size(); ++t) {
      ids.push_back(rows[r].tokens[t]);
      positions.push_back(static_cast<int>(start + t));
      sequence.push_back(r);
    }
  }
  const std::size_t m = ids.size();
  const std::size_t d = med_.attention().width();
  med_.embed(ids, positions, state.scratch);

  // Pointers to the keys and values of every sequence, one after the other.
  std::vector<std::size_t> offset = {0};
  for (std::size_t r = 0; r < rows.size(); ++r)
    offset.push_back(offset.back() + state.cache.slots(r).size());
  std::vector<const float*> keys(offset.back()), values(offset.back());
  std::vector<AttentionQuery> queries(m);

  const Med::SelfAttention self_attention = [&](std::size_t layer, const float* q, const float* k,
                                                const float* v, float* out) {
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const std::span<const int> slots = state.cache.slots(r);
      for (std::size_t t = 0; t < slots.size(); ++t) {
        keys[offset[r] + t] = state.cache.key(layer, slots[t]);
        values[offset[r] + t] = state.cache.value(layer, slots[t]);
      }
    }
    for (std::size_t i = 0; i < m; ++i) {
      const auto position = static_cast<std::size_t>(positions[i]);
      const int slot = state.cache.slots(sequence[i])[position];
      std::copy_n(k + i * d, d, state.cache.key(layer, slot));
      std::copy_n(v + i * d, d, state.cache.value(layer, slot));
      const std::size_t first = offset[sequence[i]];
      queries[i] = {
          q + i * d, {&keys[first], position + 1}, {&values[first], position + 1}, out + i * d};
    }
    attention_cached(med_.attention(), queries);
  };
  std::vector<CrossGroup> groups;
  for (const DecoderRow& row : rows) {
    if (row.tokens.empty()) continue;
    if (groups.empty() || groups.back().image != row.image) groups.push_back({row.image, 0});
    groups.back().rows += row.tokens.size();
  }
  med_.forward(m, self_attention, groups, state.scratch, context, probe);
  return m;
}

void TextDecoder::language_model_head(const float* hidden, std::size_t rows, float* logits,
                                      const Context& context, const Probe& probe) const {
  const ThreadScope threads(context);
  FloatBuffer transformed(rows * transform_.out_features());
  transform_.forward(hidden, rows, transformed.data(), Epilogue::Activation::gelu);
  transform_norm_.forward(transformed.data(), rows, transformed.data());
  if (probe) {
    probe("text.head_transform", transformed.span(),
          {static_cast<std::int64_t>(rows), config().hidden_size});
  }
  decoder_.forward(transformed.data(), rows, logits);
}

void TextDecoder::step(DecoderState& state, std::span<const DecoderRow> rows,
                       std::span<float> logits, const Context& context) const {
  hidden_states(state, rows, context, {});
  const std::size_t d = med_.attention().width();
  // Only the last token of each row needs logits: gather those to the front.
  float* x = state.scratch.x();
  std::size_t last = 0;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    last += rows[r].tokens.size();
    if (last - 1 != r) std::copy_n(x + (last - 1) * d, d, x + r * d);
  }
  language_model_head(x, rows.size(), logits.data(), context, {});
}

void TextDecoder::step_all_logits(DecoderState& state, std::span<const DecoderRow> rows,
                                  std::span<float> logits, const Context& context,
                                  const Probe& probe) const {
  const std::size_t m = hidden_states(state, rows, context, probe);
  language_model_head(state.scratch.x(), m, logits.data(), context, probe);
}

}  // namespace blip
