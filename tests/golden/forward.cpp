#include "tests/golden/forward.h"

#include <cmath>

#include "blip/base/error.h"

namespace blip::golden {
namespace {

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

double log_sum_exp(std::span<const float> x) {
  double top = x[0];
  for (const float v : x) top = std::max(top, double{v});
  double sum = 0;
  for (const float v : x) sum += std::exp(double{v} - top);
  return top + std::log(sum);
}

}  // namespace

std::vector<std::vector<int>> unpadded_rows(const Tensors& tensors, const std::string& ids,
                                            const std::string& mask) {
  const std::vector<int> all = tensors.ints(ids), masks = tensors.ints(mask);
  const std::size_t columns = size(tensors.shape(ids).at(1));
  std::vector<std::vector<int>> rows;
  for (std::size_t r = 0; r * columns < all.size(); ++r) {
    rows.push_back(unpadded(std::span(all).subspan(r * columns, columns),
                            std::span(masks).subspan(r * columns, columns)));
  }
  return rows;
}

void Computed::append(const std::string& name, std::span<const float> values) {
  std::vector<float>& all = values_[name];
  all.insert(all.end(), values.begin(), values.end());
}

Probe Computed::probe(const std::string& prefix) {
  return [this, prefix](std::string_view name, std::span<const float> values, const Shape&) {
    append(prefix + std::string(name.substr(name.find('.') + 1)), values);
  };
}

const std::vector<float>* Computed::find(const std::string& name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? nullptr : &found->second;
}

std::vector<Tensor> encode_pictures(const BlipModel& model, const Tensors& tensors,
                                    const std::string& pixel_values, Computed& computed) {
  const std::vector<float> pixels = tensors.floats(pixel_values);
  const Shape& shape = tensors.shape(pixel_values);
  const std::size_t stride = pixels.size() / size(shape.at(0));
  const int height = static_cast<int>(shape.at(2)), width = static_cast<int>(shape.at(3));
  std::vector<Tensor> encoded;
  for (std::int64_t b = 0; b < shape.at(0); ++b) {
    Tensor& embeds = encoded.emplace_back(
        Shape{model.vision().num_tokens(height, width), model.vision().config().hidden_size});
    model.vision().forward(std::span(pixels).subspan(size(b) * stride, stride), height, width,
                           embeds.span(), {}, computed.probe("vision."));
    std::vector<float> pooled(size(model.vision().config().hidden_size));
    model.vision().pool(embeds.span(), pooled);
    computed.append("vision.pooler_output", pooled);
  }
  return encoded;
}

std::vector<float> decoder_logits(const TextDecoder& decoder, const Tensor& states,
                                  const std::vector<int>& text, const std::string& prefix,
                                  Computed& computed) {
  const CrossKeysValues keys_values = decoder.attend_to(states.span(), size(states.dim(0)), {});
  DecoderState state(decoder.config());
  std::vector<float> logits(text.size() * size(decoder.config().vocab_size));
  const DecoderRow row{-1, text, &keys_values};
  decoder.step_all_logits(state, {&row, 1}, logits, {}, computed.probe(prefix));
  return logits;
}

void expect_logits(const Tensors& expected, const std::string& prefix,
                   const std::vector<std::vector<float>>& logits, int vocab_size) {
  const std::size_t vocab = size(vocab_size);
  const std::string every = prefix + "logits_every61", top_ids = prefix + "logits_top16_ids",
                    sums = prefix + "logits_logsumexp";
  std::vector<float> wanted_every, wanted_top, wanted_sums;
  std::vector<int> ids;
  std::size_t columns = 0;  // tokens of a padded text
  if (expected.contains(every)) {
    wanted_every = expected.floats(every);
    columns = size(expected.shape(every).at(1));
  }
  if (expected.contains(top_ids)) {
    ids = expected.ints(top_ids);
    wanted_top = expected.floats(prefix + "logits_top16_values");
  }
  if (expected.contains(sums)) wanted_sums = expected.floats(sums);
  for (std::size_t r = 0; r < logits.size(); ++r) {
    for (std::size_t t = 0; t * vocab < logits[r].size(); ++t) {
      const std::string what =
          prefix + "logits of text " + std::to_string(r) + ", token " + std::to_string(t);
      const std::span<const float> token = std::span(logits[r]).subspan(t * vocab, vocab);
      const std::size_t at = r * columns + t;
      if (!wanted_every.empty()) {
        std::vector<float> got;
        for (std::size_t i = 0; i < vocab; i += 61) got.push_back(token[i]);
        expect_close(got, std::span(wanted_every).subspan(at * got.size(), got.size()),
                     kHiddenStates, what);
      }
      if (!ids.empty()) {
        std::vector<float> got;
        for (std::size_t i = 0; i < 16; ++i) got.push_back(token[size(ids[at * 16 + i])]);
        expect_close(got, std::span(wanted_top).subspan(at * 16, 16), kHiddenStates,
                     what + ", top 16");
      }
      if (!wanted_sums.empty()) {
        EXPECT_NEAR(log_sum_exp(token), wanted_sums[at], 2e-4 + 2e-4 * std::fabs(wanted_sums[at]))
            << what;
      }
    }
  }
}

Loss text_loss(std::span<const float> logits, std::span<const int> labels, int vocab_size,
               double label_smoothing) {
  const std::size_t vocab = size(vocab_size);
  Loss loss;
  for (std::size_t t = 0; t + 1 < labels.size(); ++t) {
    if (labels[t + 1] == -100) continue;
    const std::span<const float> token = logits.subspan(t * vocab, vocab);
    const double log_sum = log_sum_exp(token);
    double mean = 0;
    for (const float v : token) mean += log_sum - double{v};
    mean /= vocab_size;
    const double nll = log_sum - double{token[size(labels[t + 1])]};
    loss.sum += (1 - label_smoothing) * nll + label_smoothing * mean;
    ++loss.count;
  }
  return loss;
}

void expect_ragged(const Tensors& expected, const std::string& name,
                   std::span<const float> computed, std::span<const std::vector<int>> texts) {
  const std::vector<float> wanted = expected.floats(name);
  const std::size_t columns = size(expected.shape(name).at(1)),
                    width = size(expected.shape(name).at(2));
  std::size_t offset = 0;
  for (std::size_t r = 0; r < texts.size(); ++r) {
    const std::size_t count = texts[r].size() * width;
    ASSERT_LE(offset + count, computed.size()) << name;
    expect_close(computed.subspan(offset, count),
                 std::span(wanted).subspan(r * columns * width, count), kHiddenStates,
                 name + " of text " + std::to_string(r));
    offset += count;
  }
}

}  // namespace blip::golden
