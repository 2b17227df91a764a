#include "blip/model/text_decoder.h"

#include <algorithm>
#include <cstdint>
#include <functional>

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

void TextDecoder::lay_out(DecoderState& state, std::span<const DecoderRow> rows) {
  DecoderState::Step& step = state.step_;
  step.cache_rows.clear();
  for (const DecoderRow& row : rows) step.cache_rows.push_back({row.parent, row.tokens.size()});
  state.cache.advance(step.cache_rows);

  step.ids.clear();
  step.positions.clear();
  step.sequence.clear();
  step.first.assign(1, 0);
  step.groups.clear();
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const std::size_t size = state.cache.slots(r).size(), added = rows[r].tokens.size();
    step.first.push_back(step.first.back() + size);
    for (std::size_t t = 0; t < added; ++t) {
      step.ids.push_back(rows[r].tokens[t]);
      step.positions.push_back(static_cast<int>(size - added + t));
      step.sequence.push_back(r);
    }
    if (added == 0) continue;
    if (step.groups.empty() || step.groups.back().image != rows[r].image)
      step.groups.push_back({rows[r].image, 0});
    step.groups.back().rows += added;
  }
  step.keys.resize(step.first.back());
  step.values.resize(step.first.back());
  step.queries.resize(step.ids.size());
}

void TextDecoder::attend(DecoderState& state, std::size_t layer, const float* query,
                         const float* key, const float* value, float* out) const {
  DecoderState::Step& step = state.step_;
  KeyValueCache& cache = state.cache;
  const std::size_t d = med_.attention().width();
  for (std::size_t r = 0; r < cache.size(); ++r) {
    const std::span<const int> slots = cache.slots(r);
    for (std::size_t t = 0; t < slots.size(); ++t) {
      step.keys[step.first[r] + t] = cache.key(layer, slots[t]);
      step.values[step.first[r] + t] = cache.value(layer, slots[t]);
    }
  }
  for (std::size_t i = 0; i < step.ids.size(); ++i) {
    const auto position = static_cast<std::size_t>(step.positions[i]);
    const std::size_t r = step.sequence[i], first = step.first[r];
    const int slot = cache.slots(r)[position];
    std::copy_n(key + i * d, d, cache.key(layer, slot));
    std::copy_n(value + i * d, d, cache.value(layer, slot));
    step.queries[i] = {query + i * d,
                       {&step.keys[first], position + 1},
                       {&step.values[first], position + 1},
                       out + i * d};
  }
  attention_cached(med_.attention(), step.queries);
}

std::size_t TextDecoder::hidden_states(DecoderState& state, std::span<const DecoderRow> rows,
                                       const Context& context, const Probe& probe) const {
  lay_out(state, rows);
  const DecoderState::Step& step = state.step_;
  med_.embed(step.ids, step.positions, state.scratch);
  const auto self_attention = [&](std::size_t layer, const float* query, const float* key,
                                  const float* value,
                                  float* out) { attend(state, layer, query, key, value, out); };
  // A reference fits into std::function without memory of its own.
  med_.forward(step.ids.size(), std::ref(self_attention), step.groups, state.scratch, context,
               probe);
  return step.ids.size();
}

void TextDecoder::language_model_head(DecoderState& state, std::size_t rows, float* logits,
                                      const Context& context, const Probe& probe) const {
  const ThreadScope threads(context);
  FloatBuffer& transformed = state.step_.head;
  const std::size_t size = rows * transform_.out_features();
  if (transformed.size() < size) transformed = FloatBuffer(size);
  transform_.forward(state.scratch.x(), rows, transformed.data(), Epilogue::Activation::gelu);
  transform_norm_.forward(transformed.data(), rows, transformed.data());
  if (probe) {
    probe("text.head_transform", transformed.span().first(size),
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
  language_model_head(state, rows.size(), logits.data(), context, {});
}

void TextDecoder::step_all_logits(DecoderState& state, std::span<const DecoderRow> rows,
                                  std::span<float> logits, const Context& context,
                                  const Probe& probe) const {
  const std::size_t m = hidden_states(state, rows, context, probe);
  language_model_head(state, m, logits.data(), context, probe);
}

}  // namespace blip
